import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { turnJobId } from '../../src/bullmq/turn-job.ts';
import type { StoredTurn, TurnEntry, Turns } from '../../src/index.ts';
import { serverAddress } from '../../src/opencode/address.ts';
import { openCodeClient } from '../../src/opencode/v1/client.ts';
import { deferred } from '../support/deferred.ts';
import { eventually } from '../support/eventually.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { concatenated, newConversation } from '../support/turns.ts';
import { startWorkerProcess } from '../support/worker-process.ts';

let system: TestSystem;
let turns: Turns;

beforeAll(async () => {
  system = await startSystem();
  turns = await system.connect();
}, 90_000);
afterAll(() => system.stop());

/** A turn whose model stops in the middle of its text until the gate opens; followed from its beginning. */
async function heldTurn(existing?: string) {
  const gate = deferred();
  const before = system.model.turnRequests.length;
  system.respond(() => ({ text: ['one ', 'two ', 'three ', 'four'], gate: gate.promise, gateAt: 2 }));
  const conversation = existing ?? (await newConversation(turns));
  const { id } = await turns.enqueue({ conversation, text: 'count' });
  const entries: TurnEntry[] = [];
  const followed = (async () => {
    for await (const entry of turns.follow(id)) entries.push(entry);
  })();
  const streamed = () => eventually(() => expect(concatenated(entries)).toBe('one two '), 30_000);
  const stored = async () => (await turns.get(id)) as StoredTurn;
  const requests = () => system.model.turnRequests.length - before;
  return { id, gate, entries, followed, streamed, stored, requests };
}

describe('a turn whose worker dies', () => {
  it('by SIGKILL in the middle of its text is adopted: one model run, no lost or repeated text', async () => {
    const first = await startWorkerProcess(system, system.env);
    const turn = await heldTurn();
    await turn.streamed();
    first.kill('SIGKILL');
    await first.exited;
    const second = await startWorkerProcess(system, system.env);
    await eventually(async () => expect((await turn.stored()).run.epoch).toBe(2));
    turn.gate.resolve();
    await turn.followed;
    expect(await turn.stored()).toMatchObject({
      status: 'completed',
      text: 'one two three four',
      run: { reruns: 0, resends: 0 },
    });
    expect(concatenated(turn.entries)).toBe('one two three four');
    expect(turn.entries.filter(({ type }) => type === 'finished')).toHaveLength(1);
    expect(turn.requests()).toBe(1);
    second.kill('SIGTERM');
    expect(await second.exited).toEqual([0, null]);
  });

  it('is adopted however often its job has stalled before: that is no failure of the turn', async () => {
    const first = await startWorkerProcess(system, system.env);
    const turn = await heldTurn();
    await turn.streamed();
    const redis = new Redis(system.redis.url);
    const job = `${system.options.prefix}:turns:${turnJobId(turn.id)}`;
    // BullMQ's count of how often the job's lock ran out.
    await redis.hset(job, 'stc', 1_000);
    first.kill('SIGKILL');
    await first.exited;
    const second = await startWorkerProcess(system, system.env);
    await eventually(async () => expect((await turn.stored()).run.epoch).toBe(2));
    turn.gate.resolve();
    await turn.followed;
    await eventually(async () => expect(await redis.hget(job, 'returnvalue')).toContain('completed'));
    expect(await redis.hmget(job, 'stc', 'defa', 'failedReason')).toEqual(['1001', null, null]);
    await redis.quit();
    second.kill('SIGTERM');
    expect(await second.exited).toEqual([0, null]);
  });
});

it('what the turn before has left open upstream is not asked by a turn that is adopted', async () => {
  const permissions = [{ permission: 'bash', pattern: '*', action: 'ask' as const }];
  const policies = { default: { ...system.policy, permissions } };
  const first = await turns.work({ policies });
  const conversation = await newConversation(turns);
  const bash = { name: 'bash', input: { command: 'echo x', description: 'test' } };
  system.respond(() => ({ tools: [bash] }));
  const before = await turns.enqueue({ conversation, text: 'ask' });
  for await (const entry of turns.follow(before.id)) {
    if (entry.type === 'request' && entry.request.state === 'open') await turns.cancel(before.id);
  }
  expect(await turns.get(before.id)).toMatchObject({ status: 'cancelled', requests: [{ state: 'closed' }] });
  const { url, password } = system.opencode;
  const client = openCodeClient({ address: serverAddress(url, undefined, password) });
  const left = async () =>
    (await client.permissions(system.policy.directory())).map(({ sessionID }) => sessionID);
  const turn = await heldTurn(conversation);
  await turn.streamed();
  expect(await left()).toEqual([(await turn.stored()).run.sessionId]);
  await first.stop(0);
  const second = await turns.work({ policies });
  await eventually(() =>
    expect(turn.entries.some((entry) => entry.type === 'progress' && entry.progress === 'adopted')).toBe(
      true,
    ),
  );
  turn.gate.resolve();
  await turn.followed;
  expect(await turn.stored()).toMatchObject({ status: 'completed', requests: [], run: { epoch: 2 } });
  expect(turn.entries.filter(({ type }) => type === 'request')).toEqual([]);
  await second.stop();
});
