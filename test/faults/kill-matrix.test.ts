import { afterAll, beforeAll, expect, it } from '@jest/globals';
import type { RunningWorker } from '../../src/index.ts';
import { eventually } from '../support/eventually.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { services } from './chunk-labels.ts';
import { Lane, lockMs, script, stalledCheckMs } from './lane.ts';
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
    rescuer = await startRescuer(lane);
    await turn.followed;
    await lane.check(turn);
  } finally {
    proxy.disarm();
    await rescuer?.stop();
    await kill();
  }
};

function startRescuer({ proxy, turns, system }: Lane): Promise<RunningWorker> {
  if (proxy.sprung) proxy.disarm();
  return turns.work({
    policies: { default: system.policy },
    lockMs,
    stalledCheckMs,
    // A killed mint may have left a session, which the record's lock tells from one that is being minted.
    sweeper: { everyMs: 300, minAgeMs: 0 },
  });
}

it('a worker killed at any message of a turn loses nothing, asks nothing twice and leaves nothing behind', async () => {
  await tryPoints('kill matrix', lanes, killAt, sizes.killPoints);
}, 3_600_000);
