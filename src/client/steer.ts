import { NotFoundError } from '../errors.ts';
import type { CancelResult } from '../ports/turn-store.ts';
import { checkFits } from '../turn/check-answer.ts';
import type { TurnEnd } from '../turn/entry.ts';
import type { InputAnswer } from '../turn/stored-turn.ts';
import { checkAnswer, checkRequestId, checkTurnId } from './check-input.ts';
import type { ClientDeps } from './deps.ts';

/** Stores a request to end a turn; ends one that waits. See `Turns.cancel`. */
export async function cancel(deps: ClientDeps, turnId: string): Promise<CancelResult> {
  const id = checkTurnId(turnId);
  const { store, jobs, stream } = deps;
  const result = await store.cancel(id);
  await bestEffort(deps, 'turn.cancel', id, async () => {
    if (result === 'requested') return deps.control.notify(id);
    const turn = result === 'cancelled' ? await store.get(id) : null;
    if (!turn) return;
    const end: TurnEnd = { status: 'cancelled', text: '' };
    await stream.end({ turnId: id, epoch: turn.run.epoch }, end);
    // Its job has nothing to do any more but to tell the host's policy, which a worker knows.
    await jobs.wake(turn);
    const next = await store.head(turn.conversationId);
    if (next) await jobs.wake(next);
  });
  return result;
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

/** The request is stored; everything after that only makes it faster. */
async function bestEffort(
  deps: ClientDeps,
  action: string,
  turnId: string,
  fn: () => Promise<unknown>,
): Promise<void> {
  try {
    await fn();
  } catch (error) {
    deps.reporter.report(error, { action, severity: 'warning', turnId });
  }
}
