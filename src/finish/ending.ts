import {
  type AbortReason,
  DocumentTooLargeError,
  isTurnsError,
  messageOf,
  type TurnAbortError,
} from '../errors.ts';
import type { Exchange } from '../reply/exchange.ts';
import type { Part } from '../reply/part.ts';
import type { TurnRun } from '../run/turn-run.ts';
import { within } from '../timing/time-limit.ts';
import { failureOfError, isExplained, sentenceOf, turnFailure, upstreamFailure } from '../turn/failure.ts';
import type { PromptIds } from '../turn/phase.ts';
import type { TurnFailure, TurnNotice } from '../turn/stored-turn.ts';
import type { WatchEnd } from '../watch/turn-watch.ts';
import type { Ending } from './terminal-write.ts';

/** What of a run is touched here. */
type Run = Pick<TurnRun, 'deps' | 'policy' | 'signal' | 'turn' | 'upstream'>;

/** How long the cause of a failure is looked for. */
const diagnoseMs = 5_000;

const failures = {
  lost: turnFailure('run_lost', { detail: 'the server lost the run' }),
  aborted: turnFailure('aborted_upstream', { detail: 'the run was aborted upstream by somebody else' }),
  overtaken: turnFailure('foreign_prompt', {
    detail: 'somebody else prompted the session, and the server went on with that alone',
  }),
  empty: turnFailure('empty_stream', { detail: 'upstream ended the turn without a word' }),
} satisfies Record<string, TurnFailure>;

/** How a turn ends that was followed to its end. */
export async function endingOf(
  run: Run,
  ids: PromptIds,
  end: Extract<WatchEnd, { exchange: Exchange }>,
): Promise<Ending> {
  if (end.kind === 'completed') return { status: 'completed', notice: noticeOf(end.exchange) };
  if (end.kind !== 'failed') return { status: 'error', error: failures[end.kind] };
  return { status: 'error', error: await diagnosed(run, ids, end.failure) };
}

/** Upstream does not know the models of a provider without a key, and says the same of a name that is misspelt. */
async function diagnosed(run: Run, ids: PromptIds, failure: TurnFailure): Promise<TurnFailure> {
  const { policy, deps } = run;
  if (failure.reason !== 'unknown_model' || policy.model === undefined) return failure;
  try {
    const ask = (signal: AbortSignal) => run.upstream(ids.server).providers(ids.directory, signal);
    const known = await within(diagnoseMs, ask, run.signal, deps.clock);
    return known.includes(policy.model.providerID)
      ? failure
      : turnFailure('provider_not_configured', failure);
  } catch (error) {
    deps.reporter.report(error, { action: 'turn.diagnose', severity: 'warning', turnId: run.turn.id });
    return failure;
  }
}

function noticeOf({ finish, lastAssistant, parts }: Exchange): TurnNotice | undefined {
  if (finish === 'length') return notice('output_limit');
  // A person who refused a tool has ended it; nothing was to be said.
  if (finish === 'tool-calls') return undefined;
  const said = parts.some((part) => part.messageId === lastAssistant?.info.id && isSaid(part));
  return said ? undefined : notice('no_text');
}

const isSaid = (part: Part) => part.type === 'text' && part.text.trim() !== '';
const notice = (reason: TurnNotice['reason']): TurnNotice => ({ reason, message: sentenceOf(reason) });

/** How a turn ends that was stopped. */
export function stoppedEnding({ reason, detail, cause }: TurnAbortError): Ending {
  if (reason === 'user') return { status: 'cancelled' };
  if (cause instanceof DocumentTooLargeError) return { status: 'error', error: failureOfError(cause) };
  return { status: 'error', error: stoppedFailure(reason, detail, cause) };
}

function stoppedFailure(reason: AbortReason, limit: string | undefined, cause: unknown): TurnFailure {
  const name = limit ? `${reason}_${snakeCase(limit)}` : reason.replace('-', '_');
  // What the provider said again and again tells more than that it was asked too often.
  if (typeof cause === 'string') {
    const said = upstreamFailure({ message: cause });
    const failure = turnFailure(name, { detail: cause });
    return isExplained(said) ? { ...failure, message: said.message } : failure;
  }
  // Upstream was away when the time was over.
  return turnFailure(name, isTurnsError(cause) ? { name: cause.code, detail: messageOf(cause) } : {});
}

const cancelUnconfirmed = turnFailure('cancel_unconfirmed', {
  detail: 'the run was aborted and could not be seen to end; it may go on for a while',
});

/** An end that could not be seen upstream says so, whatever else it is. */
export function marked(ending: Ending, confirmed: boolean): Ending {
  if (confirmed || ending.status === 'completed') return ending;
  return { ...ending, error: { ...(ending.error ?? cancelUnconfirmed), unconfirmed: true } };
}

const snakeCase = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
