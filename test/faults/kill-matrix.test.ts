import { afterAll, beforeAll, it } from '@jest/globals';
import { startSystem, type TestSystem } from '../support/system.ts';
import { killing } from './killing.ts';
import { Lane } from './lane.ts';
import { script } from './lane-turn.ts';
import { tryPoints } from './matrix.ts';
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

const killAt = killing(
  (lane, trap) => lane.turn(trap),
  (lane, turn) => lane.check(turn),
);

it('a worker killed at any message of a turn loses nothing, asks nothing twice and leaves nothing behind', async () => {
  await tryPoints('kill matrix', lanes, killAt, { atLeast: 50, tries: sizes.killPoints });
}, 3_600_000);
