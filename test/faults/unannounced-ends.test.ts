import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Queue } from 'bullmq';
import mongoose from 'mongoose';
import { turnJobId } from '../../src/bullmq/turn-job.ts';
import type { TurnOutcome, Turns } from '../../src/index.ts';
import { eventually } from '../support/eventually.ts';
import { RedisReplyProxy } from '../support/redis-reply-proxy.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { newConversation } from '../support/turns.ts';
import { redisReplies } from './reply-table.ts';

/** Ends that no run has written, whose job, which brings them to a worker, is gone. */
let system: TestSystem;
let proxy: RedisReplyProxy;
let turns: Turns;
let queue: Queue;
let heard: TurnOutcome[] = [];

beforeAll(async () => {
  system = await startSystem();
  proxy = await RedisReplyProxy.start(system.options.redis);
  turns = await system.connect({ redis: proxy.url });
  const { redis, options } = system;
  queue = new Queue('turns', { connection: { url: redis.url }, prefix: options.prefix ?? '' });
}, 90_000);
afterAll(async () => {
  await queue.close();
  await system.stop();
  await proxy.stop();
});
beforeEach(() => {
  heard = [];
});

const heardOf = (id: string) => heard.filter(({ turnId }) => turnId === id);
const lose = async ({ id }: { id: string }) => expect(await queue.remove(turnJobId(id))).toBe(1);
const unannounced = () =>
  turns.models.Message.countDocuments({ 'run.announceFrom': mongoose.trusted({ $gt: 0 }) });

/** Enqueued while nobody works. */
async function waiting() {
  const conversation = await newConversation(turns);
  return { ...(await turns.enqueue({ conversation, text: 'go' })), conversation };
}
type Waiting = Awaited<ReturnType<typeof waiting>>;

/** A worker that sweeps; it goes, and the end of what it is doing with it, when `fn` is through. */
async function withWorker(onTurnFinished: (outcome: TurnOutcome) => unknown, fn: () => Promise<void>) {
  const { options } = system;
  const app = await system.connect({ redis: options.redis });
  const policy = {
    ...system.policy,
    onTurnFinished: async (end: TurnOutcome) => void (await onTurnFinished(end)),
  };
  await app.work({ policies: { default: policy }, sweeper: { everyMs: 200, minAgeMs: 0 } });
  await fn().finally(() => app.close());
}

const losses: Readonly<Record<string, (turn: Waiting) => Promise<unknown>>> = {
  'cancelled while it waited, its job lost afterwards': async (turn) => {
    expect(await turns.cancel(turn.id)).toBe('cancelled');
    await lose(turn);
  },
  'cancelled while it waited and had no job, and Redis refused to give it one': async (turn) => {
    await lose(turn);
    const refusing = proxy.replace({
      at: ({ args }) => args.some((arg) => arg.includes(turnJobId(turn.id))),
      executed: false,
      reply: redisReplies.CLUSTERDOWN as string,
      times: 100,
    });
    expect(await turns.cancel(turn.id)).toBe('cancelled');
    expect(refusing.hits.length).toBeGreaterThan(0);
    proxy.clear();
    expect(await queue.getJob(turnJobId(turn.id))).toBeUndefined();
  },
};

describe('an end that no run has written, and whose job is lost, is told to the host all the same', () => {
  it.each(Object.entries(losses))('%s', async (_, lost) => {
    const ids: string[] = [];
    for (let round = 0; round < 2; round += 1) {
      const turn = await waiting();
      ids.push(turn.id);
      await lost(turn);
      expect(await unannounced()).toBe(1);
      await withWorker(
        (end) => heard.push(end),
        async () => {
          await eventually(() => expect(heardOf(turn.id)).toMatchObject([{ status: 'cancelled' }]), 30_000);
          await eventually(async () => expect(await unannounced()).toBe(0));
        },
      );
    }
    // What has been told is not told again by later sweeps.
    expect(heard.map(({ turnId }) => turnId)).toEqual(ids);
  });

  it('when a worker took it to tell it, and was gone before it had', async () => {
    const turn = await waiting();
    await turns.cancel(turn.id);
    let began = false;
    const died = withWorker(
      () => {
        began = true;
        return new Promise(() => undefined);
      },
      () => eventually(() => expect(began).toBe(true), 30_000),
    );
    await died;
    await queue.obliterate({ force: true });
    expect(await unannounced()).toBe(1);
    // The time in which it could still have told has passed.
    const past = { $set: { 'run.announceFrom': Date.now() - 1 } };
    await turns.models.Message.collection.updateOne({ _id: new mongoose.Types.ObjectId(turn.id) }, past);
    await withWorker(
      (end) => heard.push(end),
      () => eventually(() => expect(heardOf(turn.id)).toHaveLength(1), 30_000),
    );
    expect(await unannounced()).toBe(0);
  });

  it('however many there are', async () => {
    const id = () => new mongoose.Types.ObjectId();
    const docs = Array.from({ length: 510 }, (_, at) => ({
      _id: id(),
      counterpart: id(),
      conversation: id(),
      sequence: 2,
      policy: 'default',
      role: 'assistant',
      status: 'cancelled',
      text: '',
      reasoning: '',
      parts: '[]',
      requests: [],
      artifacts: [],
      run: { phase: 'finished', epoch: 0, reruns: 0, resends: 0, cancelRequestedAt: 1, announceFrom: 1 },
      createdAt: new Date(Date.now() - 3_600_000 + (at % 7)),
      finishedAt: new Date(),
    }));
    await turns.models.Message.collection.insertMany(docs as never);
    await withWorker(
      (end) => heard.push(end),
      () => eventually(async () => expect(await unannounced()).toBe(0), 60_000),
    );
    expect(heard).toHaveLength(510);
    expect(new Set(heard.map(({ turnId }) => turnId)).size).toBe(510);
  }, 90_000);
});
