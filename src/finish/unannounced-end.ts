import type { TurnDeps } from '../run/deps.ts';
import { turnFailure } from '../turn/failure.ts';
import type { TurnOutcome } from '../turn/outcome.ts';
import type { CompiledPolicy } from '../turn/policy.ts';
import type { StoredTurn } from '../turn/stored-turn.ts';
import { announce } from './announce.ts';
import { noUsage } from './terminal-write.ts';

/** Longer than the host may take by so much, somebody else leaves the telling to us. */
const tellMs = 30_000;

/**
 * A turn that no run has ended (it was cancelled while it waited, or its conversation was deleted) is announced by whoever
 * takes its job: the loser of a race for that (a job that was taken twice) finds it taken. At least once: one who dies,
 * leaves, or cannot store that he has told is followed by another, to whom the sweeper brings it. Throws
 * ServiceUnavailableError.
 */
export async function announceEnd(
  deps: TurnDeps,
  policy: CompiledPolicy,
  turnId: string,
  signal: AbortSignal,
): Promise<void> {
  const turn = await deps.store.takeUnannounced(turnId, policy.limits.hookTimeoutMs + tellMs);
  if (!turn) return;
  await announce(deps, { policy, outcome: outcomeOf(turn), unclaimed: true }, signal);
  // The waiting for a hook ends with the worker: what became of it nobody knows.
  if (!signal.aborted) await deps.store.announced(turnId);
}

function outcomeOf(turn: StoredTurn): Exclude<TurnOutcome, { status: 'interrupted' }> {
  const { error } = turn;
  const result = {
    turnId: turn.id,
    conversationId: turn.conversationId,
    sessionId: turn.run.sessionId,
    text: turn.text,
    usage: turn.usage ?? noUsage,
    artifacts: turn.artifacts,
    durationMs: turn.durationMs ?? 0,
    timeToFirstTokenMs: turn.timeToFirstTokenMs,
  };
  if (turn.status === 'error') return { status: 'error', error: error ?? turnFailure('internal'), ...result };
  return { status: 'cancelled', ...(error ? { error } : {}), ...result };
}
