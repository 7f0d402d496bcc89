/** What every ControlNotifier owes: hints for those who listen to that turn, as long as they do. */
import { beforeAll, expect, it } from '@jest/globals';
import type { ControlNotifier } from '../../src/ports/notifier.ts';
import { eventually } from '../support/eventually.ts';

export interface NotifierWorld {
  readonly notifier: ControlNotifier;
  newTurn(): string;
}

export function notifierContract(open: () => Promise<NotifierWorld>): void {
  let world: NotifierWorld;
  beforeAll(async () => {
    world = await open();
  });
  /** Notified until somebody hears of it: one over a network may begin to listen a moment later. */
  const heard = (turnId: string, isHeard: () => boolean) =>
    eventually(async () => {
      await world.notifier.notify(turnId);
      expect(isHeard()).toBe(true);
    });

  it('tells each listener of that turn, and those of no other', async () => {
    const [turn, other] = [world.newTurn(), world.newTurn()];
    const calls = [0, 0, 0];
    const count = (at: number) => () => {
      calls[at] = (calls[at] ?? 0) + 1;
    };
    const offs = [turn, turn, other].map((id, at) => world.notifier.listen(id, count(at)));
    await heard(turn, () => (calls[0] ?? 0) > 0 && (calls[1] ?? 0) > 0);
    // What was heard first may say that messages were missed, which is for everybody.
    calls.fill(0);
    await heard(turn, () => (calls[0] ?? 0) > 0 && (calls[1] ?? 0) > 0);
    expect(calls[2]).toBe(0);
    for (const off of offs) off();
  });

  it('tells nobody who has left, and nobody is no error', async () => {
    const turn = world.newTurn();
    let left = 0;
    let here = 0;
    const off = world.notifier.listen(turn, () => {
      left += 1;
    });
    const stay = world.notifier.listen(turn, () => {
      here += 1;
    });
    await heard(turn, () => left > 0);
    left = 0;
    here = 0;
    // Who leaves while he is being notified has left.
    const notified = world.notifier.notify(turn);
    off();
    off();
    await notified;
    await heard(turn, () => here > 0);
    expect(left).toBe(0);
    stay();
    await world.notifier.notify(turn);
    await world.notifier.notify(world.newTurn());
  });
}
