import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { startSystem, type TestSystem } from '../support/system.ts';
import { KillLane, type Outcome, script } from './kill-lane.ts';
import type { Moment } from './numbering-proxy.ts';
import { seed, seeded, shuffled, sizes } from './sizes.ts';

let system: TestSystem;
let lanes: KillLane[];

beforeAll(async () => {
  system = await startSystem();
  system.respond(script);
  lanes = await Promise.all(
    Array.from({ length: sizes.lanes }, (_, at) => KillLane.open(system, `lane${at}`)),
  );
}, 90_000);
afterAll(async () => {
  await Promise.all(lanes.map((lane) => lane.close()));
  await system.stop();
});

const moments: readonly Moment[] = ['before', 'after'];

it('a worker killed at any message of a turn loses nothing, asks nothing twice and leaves nothing behind', async () => {
  const points = (await lanes[0]?.points()) ?? [];
  expect(points.length).toBeGreaterThan(50);
  // A turn's chunks are not the same in number from run to run: some more are tried than were seen.
  const numbers = Array.from({ length: points.length + 5 }, (_, at) => at + 1);
  const tries = numbers.flatMap((number) => moments.map((moment) => ({ number, moment })));
  const chosen = shuffled(tries, seeded(seed)).slice(0, sizes.killPoints);
  const outcomes: Outcome[] = [];
  await Promise.all(
    lanes.map(async (lane) => {
      for (let next = chosen.pop(); next; next = chosen.pop()) {
        outcomes.push(await lane.run(next.number, next.moment));
        progress(outcomes, chosen.length);
      }
    }),
  );
  report(outcomes);
  const failures = outcomes.filter(({ failure }) => failure !== undefined);
  expect(failures).toEqual([]);
  expect(outcomes.some(({ killed }) => killed)).toBe(true);
}, 3_600_000);

/** Every point takes many minutes: whoever watches wants to know how far it is, and hear of a broken promise at once. */
function progress(outcomes: readonly Outcome[], left: number): void {
  const { failure, point, moment } = outcomes.at(-1) ?? {};
  if (failure !== undefined)
    print(`broken: ${moment} ${point?.number} ${point?.service} ${point?.way} ${point?.what}: ${failure}`);
  if (outcomes.length % 25 === 0) print(`kill matrix: ${outcomes.length} tried, about ${left} left`);
}

const print = (text: string) => writeFileSync(process.stderr.fd, `${text}\n`);

/** The table that `--all` is run for; printed past jest, which would add a stack to every line. */
function report(outcomes: readonly Outcome[]): void {
  const killed = outcomes.filter((outcome) => outcome.killed);
  const groups = new Map<string, { before: number; after: number; failed: number }>();
  for (const { point, moment, failure } of killed) {
    const key = point ? `${point.service.padEnd(9)} ${point.way.padEnd(8)} ${point.what}` : 'unknown';
    const group = groups.get(key) ?? { before: 0, after: 0, failed: 0 };
    group[moment] += 1;
    if (failure !== undefined) group.failed += 1;
    groups.set(key, group);
  }
  const rows = [...groups].sort(([a], [b]) => a.localeCompare(b));
  const lines = [
    `kill matrix: seed ${seed}, ${killed.length} workers killed, ${outcomes.length - killed.length} turns ended before their point, ${outcomes.filter(({ failure }) => failure).length} broken promises`,
    ...rows.map(
      ([key, { before, after, failed }]) =>
        `  ${key.padEnd(66)} before ${String(before).padStart(3)}  after ${String(after).padStart(3)}  broken ${failed}`,
    ),
  ];
  print(lines.join('\n'));
}
