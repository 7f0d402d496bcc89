import { afterAll, beforeAll, expect, it } from '@jest/globals';
import type { RunningWorker } from '../../src/index.ts';
import { eventually } from '../support/eventually.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { services } from './chunk-labels.ts';
import { Lane, script } from './lane.ts';
import { type Attempt, tryPoints } from './matrix.ts';
import { sizes } from './sizes.ts';

let system: TestSystem;
let lanes: Lane[];

beforeAll(async () => {
  system = await startSystem();
  system.respond(script);
  lanes = await Promise.all(Array.from({ length: sizes.lanes }, (_, at) => Lane.open(system, `lane${at}`)));
}, 90_000);
afterAll(async () => {
  await Promise.all(lanes.map((lane) => lane.close()));
  await system.stop();
});

/** One worker process, killed at its point; then one of this process, which nobody disturbs, brings the turn home. */
const killAt: Attempt = async (lane, number, moment) => {
  const { proxy } = lane;
  const victim = await lane.worker();
  const kill = async () => {
    victim.kill('SIGKILL');
    await victim.exited;
  };
  let rescuer: RunningWorker | undefined;
  try {
    const turn = await lane.turn({ number, moment, takes: () => services, spring: kill });
    await eventually(
      () => expect(proxy.sprung || turn.entries.at(-1)?.type === 'finished').toBe(true),
      30_000,
    );
    await proxy.whenSprung();
    rescuer = await lane.rescuer();
    await turn.followed;
    await lane.check(turn);
  } finally {
    proxy.disarm();
    await rescuer?.stop();
    await kill();
  }
};

it('a worker killed at any message of a turn loses nothing, asks nothing twice and leaves nothing behind', async () => {
  await tryPoints('kill matrix', lanes, killAt, sizes.killPoints);
}, 3_600_000);
