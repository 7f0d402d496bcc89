import { expect } from '@jest/globals';
import type { Lane } from './lane.ts';
import type { Moment, Point } from './numbering-proxy.ts';
import { print } from './result.ts';
import { seed, seeded, shuffled } from './sizes.ts';

export interface Outcome {
  readonly point: Point | undefined;
  readonly moment: Moment;
  /** False when the turn ended before the trap's number came. */
  readonly sprung: boolean;
  /** What did not hold. */
  readonly failure: string | undefined;
}

/** Does it at message `number` of one turn; throws when a promise was broken. Leaves the lane as it was. */
export type Attempt = (lane: Lane, number: number, moment: Moment) => Promise<void>;

const moments: readonly Moment[] = ['before', 'after'];

/**
 * Tries points of a turn, before and after each, on all lanes side by side, as many as `tries` and chosen by the
 * seed; prints the table and expects no broken promise, and more points than `atLeast`.
 */
export async function tryPoints(
  name: string,
  lanes: readonly Lane[],
  attempt: Attempt,
  { atLeast, tries: count }: { readonly atLeast: number; readonly tries: number },
): Promise<void> {
  const [lane] = lanes;
  if (!lane) throw new Error('no lane');
  await attempt(lane, 0, 'before');
  const { length } = lane.proxy.points;
  expect(length).toBeGreaterThan(atLeast);
  // A turn's chunks are not the same in number from run to run: some more are tried than were seen.
  const numbers = Array.from({ length: length + 5 }, (_, at) => at + 1);
  const tries = numbers.flatMap((number) => moments.map((moment) => ({ number, moment })));
  const chosen = shuffled(tries, seeded(seed)).slice(0, count);
  const outcomes: Outcome[] = [];
  await Promise.all(
    lanes.map(async (each) => {
      for (let next = chosen.pop(); next; next = chosen.pop()) {
        outcomes.push(await outcomeOf(attempt, each, next.number, next.moment));
        progress(name, outcomes, chosen.length);
      }
    }),
  );
  report(name, outcomes);
  expect(outcomes.filter(({ failure }) => failure !== undefined)).toEqual([]);
  expect(outcomes.some(({ sprung }) => sprung)).toBe(true);
}

async function outcomeOf(attempt: Attempt, lane: Lane, number: number, moment: Moment): Promise<Outcome> {
  let failure: string | undefined;
  try {
    await attempt(lane, number, moment);
  } catch (error) {
    failure = error instanceof Error ? error.message : String(error);
  }
  const point = lane.proxy.points.find((each) => each.number === number);
  return { point, moment, sprung: lane.proxy.sprung, failure };
}

/** Every point takes many minutes: whoever watches wants to know how far it is, and hear of a broken promise at once. */
function progress(name: string, outcomes: readonly Outcome[], left: number): void {
  const { failure, point, moment } = outcomes.at(-1) ?? {};
  if (failure !== undefined)
    print(`broken: ${moment} ${point?.number} ${point?.service} ${point?.way} ${point?.what}: ${failure}`);
  if (outcomes.length % 25 === 0) print(`${name}: ${outcomes.length} tried, about ${left} left`);
}

/** The table that `--all` is run for. */
function report(name: string, outcomes: readonly Outcome[]): void {
  const sprung = outcomes.filter((outcome) => outcome.sprung);
  const groups = new Map<string, { before: number; after: number; failed: number }>();
  for (const { point, moment, failure } of sprung) {
    const key = point ? `${point.service.padEnd(9)} ${point.way.padEnd(8)} ${point.what}` : 'unknown';
    const group = groups.get(key) ?? { before: 0, after: 0, failed: 0 };
    group[moment] += 1;
    if (failure !== undefined) group.failed += 1;
    groups.set(key, group);
  }
  const missed = outcomes.length - sprung.length;
  const broken = outcomes.filter(({ failure }) => failure).length;
  const rows = [...groups]
    .sort(([a], [b]) => a.localeCompare(b))
    .map(
      ([key, { before, after, failed }]) =>
        `  ${key.padEnd(66)} before ${String(before).padStart(3)}  after ${String(after).padStart(3)}  broken ${failed}`,
    );
  const sum = `${sprung.length} points, ${missed} turns ended before theirs, ${broken} broken promises`;
  print([`${name}: seed ${seed}, ${sum}`, ...rows].join('\n'));
}
