import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { startSystem, type TestSystem } from '../../support/system.ts';
import { script } from '../lane-turn.ts';
import { ReplyLane } from '../reply-lane.ts';
import { allPoints, tryReplies } from '../reply-points.ts';
import { writeResult } from '../result.ts';
import { only, sizes } from '../sizes.ts';

let system: TestSystem;

beforeAll(async () => {
  system = await startSystem();
  system.respond(script);
}, 90_000);
afterAll(() => system.stop());

it('a wrong answer in the place of any single one of a turn loses nothing, asks nothing twice and leaves nothing behind', async () => {
  const points = await allPoints(() => ReplyLane.open(system, 'watched'));
  const open = (name: string) => ReplyLane.open(system, name);
  // Most of a turn with a wrong answer is waiting.
  const lanes = 2 * sizes.lanes;
  const outcomes = await tryReplies(points, { open, lanes, wanted: sizes.replyPoints });
  const broken = outcomes.filter(({ failure }) => failure !== undefined);
  writeResult({ points: outcomes.length, broken: broken.length });
  expect(broken).toEqual([]);
  expect(outcomes.length).toBeGreaterThanOrEqual(only ? 1 : Math.min(sizes.replyPoints, 100));
}, 36_000_000);
