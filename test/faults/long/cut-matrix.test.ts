import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { eventually } from '../../support/eventually.ts';
import { startSystem, type TestSystem } from '../../support/system.ts';
import type { WorkerProcess } from '../../support/worker-process.ts';
import { Lane } from '../lane.ts';
import { script } from '../lane-turn.ts';
import { type Attempt, tryPoints } from '../matrix.ts';
import { sizes } from '../sizes.ts';

/** Long enough for everything that is under way to fail. */
const awayMs = 1_000;

let system: TestSystem;
let lanes: Lane[];
const workers = new Map<Lane, WorkerProcess>();

beforeAll(async () => {
  system = await startSystem();
  system.respond(script);
  lanes = await Promise.all(Array.from({ length: sizes.lanes }, (_, at) => Lane.open(system, `cut${at}`)));
  for (const lane of lanes) {
    workers.set(lane, await lane.worker());
    // Connections are made with the first turn; those that count have them.
    await cutAt(lane, 0, 'before');
  }
}, 90_000);
afterAll(async () => {
  for (const [, worker] of workers) worker.kill('SIGKILL');
  await Promise.all(lanes.map((lane) => lane.close()));
  await system.stop();
});

/** The service that the message goes to or comes from is taken away there, and back a moment later. */
const cutAt: Attempt = async (lane, number, moment) => {
  const { proxy } = lane;
  const spring = async () => {
    proxy.cut();
    await new Promise((resolve) => setTimeout(resolve, awayMs));
    proxy.restore();
  };
  try {
    const turn = await lane.turn({ number, moment, takes: ({ service }) => [service], spring });
    await turn.followed;
    await proxy.whenSprung();
    await lane.check(turn);
  } finally {
    proxy.disarm();
  }
};

it('a service taken away at any message of a turn costs time and no promise', async () => {
  await tryPoints('cut matrix', lanes, cutAt, { atLeast: 50, tries: sizes.killPoints });
  // One worker per lane has lived through all of it.
  await eventually(() =>
    expect([...workers.values()].map(({ process: { exitCode } }) => exitCode)).toEqual(lanes.map(() => null)),
  );
}, 3_600_000);
