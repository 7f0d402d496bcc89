import { expect } from '@jest/globals';
import type { Redis } from 'ioredis';
import type { StoredTurn, TurnEntry } from '../../src/index.ts';
import type { OpenCode } from '../../src/opencode/v1/server.ts';
import { markIn } from '../../src/session/mark.ts';
import { safeName } from '../../src/turn/conversation-id.ts';
import { eventually } from '../support/eventually.ts';
import type { TestSystem } from '../support/system.ts';
import { concatenated } from '../support/turns.ts';

/** Every delta once, in order, to one end: what a follower got of a turn. */
export function expectWholeStory(entries: readonly TurnEntry[], stored: StoredTurn): void {
  expect(concatenated(entries)).toBe(stored.text);
  expect(entries.filter(({ type }) => type === 'finished')).toHaveLength(1);
  expect(entries.at(-1)?.type).toBe('finished');
  // Numbers grow. A writer that cannot know where its stream stands begins another, and the whole state stands in front.
  const numbers = entries.map(({ id }) => Number.parseInt(id, 10));
  for (const [at, { type }] of entries.entries())
    if (type !== 'snapshot' && at > 0) expect(numbers[at]).toBeGreaterThan(numbers[at - 1] as number);
}

/** What the model was asked for the turn of that text: each of its steps once, or once more for each run that was lost. */
export function expectSteps(system: TestSystem, marker: string, count: number, lost = 0): void {
  const asked = system.model.turnRequests.filter(({ userText }) => userText.includes(marker));
  const steps = Array.from({ length: count }, (_, step) => step);
  if (lost === 0) expect(asked.map(({ step }) => step)).toEqual(steps);
  // A run that is begun again after it has answered in part has one step more behind it.
  else for (const { step } of asked) expect(step).toBeLessThan(count + lost);
  expect(asked.length).toBeLessThanOrEqual(count * (1 + lost));
}

/** One session upstream for the conversation, the one that it points to; what a killed mint left is swept away. */
export async function expectNoOrphan(client: OpenCode, stored: StoredTurn): Promise<void> {
  await eventually(async () => {
    const sessions = await client.recentSessions(stored.createdAt - 3_600_000, 10_000);
    const ofConversation = sessions.filter(
      ({ metadata }) => markIn(metadata)?.conversation === safeName(stored.conversationId),
    );
    expect(ofConversation.map(({ id }) => id)).toEqual([stored.run.sessionId]);
    // A sweeper that was killed is followed by another after twice its pause and ten seconds at most.
  }, 60_000);
}

/** No job waits, runs or failed, and no lock is held. */
export async function expectIdleRedis(redis: Redis, prefix: string): Promise<void> {
  await eventually(async () => {
    expect({
      active: await redis.llen(`${prefix}:turns:active`),
      waiting: await redis.llen(`${prefix}:turns:wait`),
      delayed: await redis.zcard(`${prefix}:turns:delayed`),
      failed: await failures(redis, prefix),
      locks: await redis.keys(`${prefix}:lock:*`),
    }).toEqual({ active: 0, waiting: 0, delayed: 0, failed: [], locks: [] });
  });
}

/** Why jobs have failed: without that nobody can say what broke. */
async function failures(redis: Redis, prefix: string): Promise<readonly unknown[]> {
  const ids = await redis.zrange(`${prefix}:turns:failed`, 0, '-1');
  return Promise.all(ids.map(async (id) => redis.hgetall(`${prefix}:turns:${id}`)));
}
