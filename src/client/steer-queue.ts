import { RevisionError, TurnStartedError } from '../errors.ts';
import type { ConversationQueue, MoveResult } from '../ports/turn-queue.ts';
import type { Place } from '../turn/queue-order.ts';
import type { StoredTurn } from '../turn/stored-turn.ts';
import { bestEffort } from './best-effort.ts';
import type { ClientDeps } from './deps.ts';
import { checkMember } from './member-turn.ts';
import { endWaiting, requestEnd, wakeHead } from './steer.ts';

/** What runs and what waits. See `Conversation.queue`. */
export const queue = ({ queue }: ClientDeps, conversationId: string): Promise<ConversationQueue> =>
  queue.queue(conversationId);

/** Replaces the text of a turn that waits. See `Conversation.edit`. */
export async function edit(
  deps: ClientDeps,
  conversationId: string,
  turnId: string,
  { text, revision }: { readonly text: string; readonly revision?: number | undefined },
): Promise<{ readonly revision: number }> {
  await checkMember(deps, conversationId, turnId);
  const result = await deps.queue.edit(turnId, text, revision);
  if (result.kind === 'edited') return { revision: result.revision };
  if (result.kind === 'revision') throw new RevisionError(turnId, result.revision);
  throw new TurnStartedError(turnId, result.kind === 'finished');
}

/** Ends a turn that waits. See `Conversation.drop`. */
export async function drop(deps: ClientDeps, conversationId: string, turnId: string): Promise<void> {
  await checkMember(deps, conversationId, turnId);
  const result = await deps.store.drop(turnId);
  if (result === 'cancelled') return endWaiting(deps, turnId);
  const turn = result === 'finished' ? await deps.store.get(turnId) : null;
  // Dropped before: the same call again, or somebody else's.
  if (turn && isDropped(turn)) return;
  throw new TurnStartedError(turnId, result === 'finished');
}

/** Ended before any worker had it. */
export const isDropped = ({ status, run }: StoredTurn) => status === 'cancelled' && run.epoch === 0;

/** Moves a turn that waits. See `Conversation.move`. */
export async function move(
  deps: ClientDeps,
  conversationId: string,
  turnId: string,
  place: Place,
): Promise<void> {
  await checkMember(deps, conversationId, turnId);
  startedUnless(await deps.queue.move(turnId, place));
  await wakeSoon(deps, conversationId, turnId);
}

/** A turn that waits goes next, in place of what runs. See `Conversation.sendNow`. */
export async function sendNow(
  deps: ClientDeps,
  conversationId: string,
  turnId: string,
): Promise<{ readonly interrupted: string | undefined }> {
  await checkMember(deps, conversationId, turnId);
  const result = await deps.queue.sendNow(turnId);
  startedUnless(result);
  await wakeSoon(deps, conversationId, turnId);
  const { interrupts } = result;
  if (interrupts === undefined) return { interrupted: undefined };
  return { interrupted: await interrupt(deps, interrupts, turnId) };
}

/** Nothing that waits starts from now on. See `Conversation.hold`. */
export const hold = ({ queue }: ClientDeps, conversationId: string, by: string | undefined) =>
  queue.hold(conversationId, by);

/** See `Conversation.release`. */
export async function release(deps: ClientDeps, conversationId: string): Promise<void> {
  await deps.queue.release(conversationId);
  await wakeSoon(deps, conversationId);
}

/** Holds what waits and ends what runs. See `Conversation.stop`. */
export async function stop(
  deps: ClientDeps,
  conversationId: string,
  by: string | undefined,
): Promise<{ readonly stopped: string | undefined }> {
  const { running } = await deps.queue.hold(conversationId, by);
  return { stopped: running === undefined ? undefined : await interrupt(deps, running) };
}

/** The turn, if its end was asked for; undefined when it had ended. */
async function interrupt(deps: ClientDeps, turnId: string, by?: string): Promise<string | undefined> {
  return (await requestEnd(deps, turnId, by)) === 'finished' ? undefined : turnId;
}

function startedUnless(result: MoveResult): void {
  if (result.kind !== 'moved') throw new TurnStartedError(result.turnId, result.kind === 'finished');
}

/** The delay's own end makes up for what is lost here. */
const wakeSoon = (deps: ClientDeps, conversationId: string, turnId?: string): Promise<void> =>
  bestEffort(deps, 'queue.wake', turnId, () => wakeHead(deps, conversationId));
