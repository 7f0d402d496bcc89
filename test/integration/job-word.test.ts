import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import type { Turns } from '../../src/index.ts';
import { eventually } from '../support/eventually.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { followAll, newConversation } from '../support/turns.ts';

/** What whoever can write to Redis can make of a turn: nothing but when it is looked at. */
let system: TestSystem;
let turns: Turns;
let redis: Redis;
let queue: Queue;
const ran: string[] = [];

beforeAll(async () => {
  system = await startSystem();
  turns = await system.connect();
  redis = new Redis(system.redis.url);
  queue = new Queue('turns', { connection: redis, prefix: String(system.options.prefix) });
}, 120_000);
afterAll(async () => {
  await queue?.close();
  redis?.disconnect();
  await system?.stop();
});
beforeEach(() => {
  ran.length = 0;
  system.reports.length = 0;
});

const policy = (name: string) => ({
  ...system.policy,
  onTurnFinished: async ({ turnId }: { turnId: string }) => void ran.push(`${name} ${turnId}`),
});
const work = () => turns.work({ policies: { strict: policy('strict'), loose: policy('loose') } });
const enqueue = async (name: string) =>
  turns.enqueue({ conversation: await newConversation(turns), text: 'hello', policy: name });

describe('the word of a job', () => {
  it.each([
    ['policy', { policy: 'loose' }],
    ['conversation', { conversationId: 'f'.repeat(24) }],
    ['trace', { carrier: { traceparent: 'forged' } }],
  ])('names a turn; its %s is that of the stored one', async (_, forged) => {
    const { id } = await enqueue('strict');
    const job = await queue.getJob(`turn-${id}`);
    expect(job?.data).toEqual({ turnId: id, version: 1 });
    await job?.updateData({ turnId: id, ...forged });
    const worker = await work();
    expect((await followAll(turns, id)).view.status).toBe('completed');
    await eventually(() => expect(ran).toEqual([`strict ${id}`]));
    // By this job, and not by one that was added for it later.
    await eventually(async () =>
      expect(await queue.getJob(`turn-${id}`)).toMatchObject({
        data: forged,
        returnvalue: { status: 'completed' },
      }),
    );
    await worker.stop(1_000);
  });

  it.each([
    ['no id', {}],
    ['an id that is none', { turnId: '../../x\n\u001b[31m' }],
    ['an object', { turnId: { $ne: null } }],
  ])('(%s) fails the job once, with one report, and nothing else', async (_, data) => {
    const worker = await work();
    const job = await queue.add('turn', data, { jobId: `forged-${Math.random()}`, attempts: 5 });
    await eventually(async () => expect(await job.getState()).toBe('failed'));
    await eventually(() =>
      expect(system.reports.filter(({ context }) => context.action === 'turn.job')).toHaveLength(1),
    );
    const { id } = await enqueue('loose');
    expect((await followAll(turns, id)).view.status).toBe('completed');
    expect((await queue.getJob(String(job.id)))?.attemptsMade).toBe(1);
    expect(system.reports.filter(({ context }) => context.action === 'turn.job')).toHaveLength(1);
    await worker.stop(1_000);
  });

  it('(the id of no turn) is done at once', async () => {
    const worker = await work();
    const job = await queue.add('turn', { turnId: 'f'.repeat(24) }, { jobId: 'forged-none' });
    await eventually(async () => expect(await job.getState()).toBe('completed'));
    expect((await queue.getJob('forged-none'))?.returnvalue).toEqual({ status: 'missing' });
    await worker.stop(1_000);
  });
});
