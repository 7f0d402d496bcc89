import { afterAll, beforeAll, expect, it } from '@jest/globals';
import type { RunningWorker, StoredTurn } from '../../../src/index.ts';
import { deferred } from '../../support/deferred.ts';
import { eventually } from '../../support/eventually.ts';
import { startSystem, type TestSystem } from '../../support/system.ts';
import { concatenated } from '../../support/turns.ts';
import { services } from '../chunk-labels.ts';
import { Lane } from '../lane.ts';
import { type Attempt, tryPoints } from '../matrix.ts';
import { expectSteps, expectWholeStory } from '../promises.ts';
import { sizes } from '../sizes.ts';

const said = 'some text ';
let system: TestSystem;
let lanes: Lane[];

beforeAll(async () => {
  system = await startSystem();
  system.respond(() => ({ text: ['some ', 'text ', 'never sent'], gate: deferred().promise, gateAt: 2 }));
  lanes = await Promise.all(Array.from({ length: sizes.lanes }, (_, at) => Lane.open(system, `cancel${at}`)));
}, 90_000);
afterAll(async () => {
  await Promise.all(lanes.map((lane) => lane.close()));
  await system.stop();
});

/** A turn in the middle of its text is cancelled; its worker is killed at a message that comes after. */
const killAt: Attempt = async (lane, number, moment) => {
  const { proxy, turns } = lane;
  const victim = await lane.worker();
  const kill = async () => {
    victim.kill('SIGKILL');
    await victim.exited;
  };
  const trap = { number, moment, takes: () => services, spring: kill };
  let rescuer: RunningWorker | undefined;
  try {
    const turn = await lane.turn({ ...trap, number: Number.POSITIVE_INFINITY });
    await eventually(() => expect(concatenated(turn.entries)).toBe(said), 30_000);
    proxy.arm(trap);
    expect(await turns.cancel(turn.id)).toBe('requested');
    await eventually(
      () => expect(proxy.sprung || turn.entries.at(-1)?.type === 'finished').toBe(true),
      30_000,
    );
    await proxy.whenSprung();
    rescuer = await lane.rescuer();
    await turn.followed;
    const stored = (await turns.get(turn.id)) as StoredTurn;
    expect(stored).toMatchObject({ status: 'cancelled', content: said, run: { reruns: 0, resends: 0 } });
    expectWholeStory(turn.entries, stored);
    expectSteps(system, turn.marker, 1);
    await lane.expectNothingLeft(stored);
  } finally {
    proxy.disarm();
    await rescuer?.stop();
    await kill();
  }
};

it('a worker killed at any message of a cancel: the turn is cancelled, its text kept, and nothing runs on', async () => {
  await tryPoints('cancel matrix', lanes, killAt, sizes.killPoints);
}, 3_600_000);
