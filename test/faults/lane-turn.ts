import { expect } from '@jest/globals';
import type { Redis } from 'ioredis';
import type { StoredTurn, TurnEntry, Turns } from '../../src/index.ts';
import { serverAddress } from '../../src/opencode/address.ts';
import { openCodeClient } from '../../src/opencode/v1/client.ts';
import type { TestSystem } from '../support/system.ts';
import { expectIdleRedis, expectNoOrphan, expectSteps, expectWholeStory } from './promises.ts';

const file = 'a,b\n1,2\n';
const texts = { first: ['I ', 'write.'], last: ['Here ', 'it ', 'is.'] };

/** The script of every turn of a lane: some text and a file, then the rest of the text. */
export const script = ({ step }: { step: number }) =>
  step === 0
    ? { text: texts.first, tools: [{ name: 'write', input: { filePath: 'table.csv', content: file } }] }
    : { text: texts.last };

/** One turn of a lane, followed by somebody whom nothing disturbs. */
export interface LaneTurn {
  readonly id: string;
  readonly marker: string;
  readonly entries: readonly TurnEntry[];
  readonly followed: Promise<void>;
}

/** What is looked at when a turn of a lane has ended, past everything that was done to it. */
export interface LaneView {
  readonly system: TestSystem;
  readonly turns: Turns;
  readonly redis: Redis;
}

/** Follows a turn from its beginning to its end, at most so long. */
export function followed(turns: Turns, id: string, marker: string, limitMs = 45_000): LaneTurn {
  const entries: TurnEntry[] = [];
  const follow = async () => {
    const signal = AbortSignal.timeout(limitMs);
    for await (const entry of turns.follow(id, { signal })) entries.push(entry);
  };
  return { id, marker, entries, followed: follow() };
}

/** Throws unless every promise was kept to a turn of the script. */
export async function checkTurn(view: LaneView, { id, marker, entries }: LaneTurn): Promise<void> {
  const { system, turns } = view;
  const stored = (await turns.get(id)) as StoredTurn;
  const [first, last] = [texts.first.join(''), texts.last.join('')];
  expect(stored.error).toBeUndefined();
  expect(stored).toMatchObject({
    status: 'completed',
    text: `${first}\n\n${last}`,
    run: { phase: 'finished', reruns: 0, resends: 0 },
    artifacts: [{ filename: 'table.csv', bytes: file.length }],
  });
  expect(stored.parts.map(({ type }) => type)).toEqual(['text', 'tool', 'text']);
  expect(await turns.files.list(id)).toEqual(stored.artifacts);
  expectSteps(system, marker, 2);
  expectWholeStory(entries, stored);
  await expectNothingLeft(view, stored);
}

/** No session but the conversation's, which is idle; no job and no lock. */
export async function expectNothingLeft({ system, redis }: LaneView, stored: StoredTurn): Promise<void> {
  const { opencode, options } = system;
  const client = openCodeClient({ address: serverAddress(opencode.url, undefined, opencode.password) });
  await expectNoOrphan(client, stored);
  expect(await client.statuses(stored.run.directory ?? '')).not.toHaveProperty([stored.run.sessionId ?? '']);
  await expectIdleRedis(redis, options.prefix ?? '');
}
