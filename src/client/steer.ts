import { NotFoundError } from '../errors.ts';
import type { CancelResult } from '../ports/turn-store.ts';
import { checkFits } from '../turn/check-answer.ts';
import type { TurnEnd } from '../turn/entry.ts';
import type { InputAnswer } from '../turn/stored-turn.ts';
import { bestEffort } from './best-effort.ts';
import { checkAnswer, checkRequestId, checkTurnId } from './check-input.ts';
import type { ClientDeps } from './deps.ts';

/** Stores a request to end a turn; ends one that waits. See `Turns.cancel`. */
export async function cancel(deps: ClientDeps, turnId: string): Promise<CancelResult> {
  return requestEnd(deps, checkTurnId(turnId));
}

/** The same; `interruptedBy`: the turn that is to run in its place. */
export async function requestEnd(
  deps: ClientDeps,
  turnId: string,
  interruptedBy?: string,
): Promise<CancelResult> {
  const result = await deps.store.cancel(turnId, interruptedBy);
  if (result === 'requested') await tellRunning(deps, turnId);
  if (result === 'cancelled') await endWaiting(deps, turnId);
  return result;
}

/** Whoever runs it reads what is stored for it at once, and not when he looks by himself. */
const tellRunning = (deps: ClientDeps, turnId: string): Promise<void> =>
  bestEffort(deps, 'turn.cancel', turnId, () => deps.control.notify(turnId));

/** Tells its followers of a waiting turn's end, and wakes whoever may be next. */
export const endWaiting = (deps: ClientDeps, turnId: string): Promise<void> =>
  bestEffort(deps, 'turn.cancel', turnId, async () => {
    const { store, jobs, stream } = deps;
    const turn = await store.get(turnId);
    if (!turn) return;
    const end: TurnEnd = { status: 'cancelled', text: '' };
    await stream.end({ turnId, epoch: turn.run.epoch }, end);
    // Its job has nothing to do any more but to tell the host's policy, which a worker knows.
    await jobs.wake(turn);
    await wakeHead(deps, turn.conversationId);
  });

/** The job of whoever is first now waits for the one that was. */
export async function wakeHead({ store, jobs }: ClientDeps, conversationId: string): Promise<void> {
  const head = await store.head(conversationId);
  if (head) await jobs.wake(head);
}

/** Stores a person's answer to what a turn has asked. See `Turns.answer`. */
export async function answer(
  deps: ClientDeps,
  turnId: string,
  requestId: string,
  answer: InputAnswer,
): Promise<boolean> {
  const id = checkTurnId(turnId);
  const { store } = deps;
  const asked = checkRequestId(requestId);
  const checked = checkAnswer(answer);
  const turn = await store.control(id);
  if (!turn) throw new NotFoundError('turn', id);
  const request = turn.requests.find((known) => known.requestId === asked);
  if (!request) throw new NotFoundError('request', asked);
  checkFits(request, checked);
  const stored = await store.answer(id, asked, checked);
  if (stored) await bestEffort(deps, 'turn.answer', id, () => deps.control.notify(id));
  return stored;
}
