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
  const id = checkTurnId(turnId);
  const result = await deps.store.cancel(id);
  if (result === 'requested') await tellRunning(deps, id);
  if (result === 'cancelled') await endWaiting(deps, id);
  return result;
}

/** Whoever runs it reads what is stored for it at once, and not when he looks by himself. */
export const tellRunning = (deps: ClientDeps, turnId: string): Promise<void> =>
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
    const next = await store.head(turn.conversationId);
    if (next) await jobs.wake(next);
  });

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
