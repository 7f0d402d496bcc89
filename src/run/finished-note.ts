import { TurnFailedError } from '../errors.ts';
import type { ErrorReporter } from '../instrumentation/error-reporter.ts';
import type { StoredTurn, TurnFailure } from '../turn/stored-turn.ts';

export interface FinishedTurn {
  readonly turnId: string;
  readonly policy: string;
  readonly status: StoredTurn['status'];
  readonly error?: TurnFailure;
  readonly durationMs?: number | undefined;
}

/**
 * One line for each finished turn: an error is reported, each one by itself, the others are noted. Ids, names and
 * figures only; what people, models and servers have said is in the stored turn.
 */
export function noteFinished(
  reporter: ErrorReporter,
  { turnId, policy, status, error, durationMs }: FinishedTurn,
): void {
  const facts = { turnId, policy, status, durationMs };
  if (status === 'error' && error) {
    const cause = error.name === undefined ? {} : { cause: error.name };
    const failed = new TurnFailedError(turnId, error);
    reporter.report(failed, { action: 'turn.finished', ...facts, reason: error.reason, ...cause });
  } else {
    reporter.note?.('turn finished', { ...facts, reason: error?.reason });
  }
}
