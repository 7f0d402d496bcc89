import { NotFoundError } from '../errors.ts';
import type { TurnDeps } from '../run/deps.ts';
import { within } from '../timing/time-limit.ts';
import { publicFailure, type TurnEnd } from '../turn/entry.ts';
import { turnFailure } from '../turn/failure.ts';
import { promptIds } from '../turn/phase.ts';
import type { StoredTurn } from '../turn/stored-turn.ts';
import { viewOf } from '../turn/stored-view.ts';

const failure = turnFailure('conversation_gone', { detail: 'the conversation of the turn was deleted' });
/** How long the run of an earlier owner is tried to be aborted. */
const abortMs = 10_000;

/**
 * Ends a turn whose conversation was deleted while it waited, or while nobody had it: no worker can claim it any more. Its
 * followers get their end, and what an earlier owner has left running upstream is aborted: once here, so that it ends
 * soon as a rule, and until it is seen to be over by the sweeper, for whom it was stored with the end. False when the
 * turn is not pending, changes at that moment, or has its conversation after all. Throws ServiceUnavailableError('mongodb').
 */
export async function endDeletedConversation(
  { store, publisher, upstream, reporter }: TurnDeps,
  turnId: string,
  signal: AbortSignal,
): Promise<boolean> {
  const turn = await store.abandon(turnId, failure);
  if (!turn) return false;
  const report = (error: unknown) =>
    reporter.report(error, { action: 'turn.conversation_deleted', severity: 'warning', turnId });
  report(new NotFoundError('conversation', turn.conversationId));
  const bestEffort = (fn: () => Promise<void>) => fn().catch(report);
  await bestEffort(() => publisher.end({ turnId, epoch: turn.run.epoch }, endOf(turn), viewOf(turn)));
  // The phase is that of the end: what was prompted is told by the ids.
  const ids = promptIds({ ...turn.run, phase: 'prompted' });
  if (ids) {
    // Its server may be configured no more.
    const abort = async (limit: AbortSignal) => upstream(ids.server).abort(ids, limit);
    await bestEffort(() => within(abortMs, abort, signal));
  }
  return true;
}

const endOf = ({ text }: StoredTurn): TurnEnd => ({
  status: 'error',
  text,
  error: publicFailure(failure),
});
