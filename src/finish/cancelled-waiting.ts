import type { TurnDeps } from '../run/deps.ts';
import { noteFinished } from '../run/finished-note.ts';
import type { CompiledPolicy } from '../turn/policy.ts';
import { tellHost } from './finish-turn.ts';
import { noUsage } from './terminal-write.ts';

/**
 * A turn that was cancelled while it waited has an end that no worker wrote: whoever takes its job tells the host of
 * it, once. The loser of a race for that (a job that was taken twice) finds it told. Throws ServiceUnavailableError.
 */
export async function tellCancelled(
  deps: TurnDeps,
  policy: CompiledPolicy,
  turnId: string,
  signal: AbortSignal,
): Promise<void> {
  const turn = await deps.store.takeUntold(turnId);
  if (!turn) return;
  noteFinished(deps.reporter, { turnId, policy: policy.name, status: turn.status });
  const { onTurnFinished } = policy;
  if (!onTurnFinished) return;
  const outcome = {
    status: 'cancelled' as const,
    turnId,
    recordId: turn.recordId,
    sessionId: undefined,
    text: '',
    usage: noUsage,
    artifacts: [],
    durationMs: 0,
    timeToFirstTokenMs: undefined,
  };
  const { tracer, reporter } = deps;
  await tellHost({ policy, tracer, reporter, turnId, signal }, 'onTurnFinished', () =>
    onTurnFinished(outcome),
  );
}
