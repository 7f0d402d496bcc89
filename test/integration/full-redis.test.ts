/** A Redis that is full (noeviction) in the middle of a turn, and when one is enqueued: nothing is lost once it has room again. */
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import type { TurnEntry, Turns } from '../../src/index.ts';
import { deferred } from '../support/deferred.ts';
import { eventually } from '../support/eventually.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { concatenated, newConversation } from '../support/turns.ts';

let system: TestSystem;
let turns: Turns;
let admin: Redis;
beforeAll(async () => {
  system = await startSystem();
  turns = await system.connect();
  admin = new Redis(system.redis.url);
  await turns.work({ policies: { default: system.policy }, sweeper: { everyMs: 500, minAgeMs: 0 } });
}, 90_000);
afterAll(async () => {
  await admin?.config('SET', 'maxmemory', '0');
  admin?.disconnect();
  await system?.stop();
});

it('the turn that runs goes on, the one that comes meanwhile is stored, and both end whole', async () => {
  const gate = deferred();
  system.respond(() => ({ text: ['one ', 'two ', 'three'], gate: gate.promise, gateAt: 1 }));
  const running = await turns.enqueue({ conversation: await newConversation(turns), text: 'first' });
  const entries: TurnEntry[] = [];
  const followed = (async () => {
    for await (const entry of turns.follow(running.id)) entries.push(entry);
  })();
  await eventually(() => expect(concatenated(entries)).toBe('one '));
  await admin.config('SET', 'maxmemory', '1');
  const late = await turns.enqueue({ conversation: await newConversation(turns), text: 'second' });
  gate.resolve(undefined);
  // Its end is stored though nobody can be told.
  await eventually(
    async () => expect(await turns.get(running.id)).toMatchObject({ status: 'completed' }),
    30_000,
  );
  expect(await turns.get(late.id)).toMatchObject({ status: 'pending' });
  await admin.config('SET', 'maxmemory', '0');
  await followed;
  expect(entries.at(-1)).toMatchObject({ type: 'finished', status: 'completed' });
  expect(concatenated(entries)).toBe('one two three');
  expect(await turns.result(late.id)).toMatchObject({ status: 'completed', text: 'one two three' });
}, 90_000);
