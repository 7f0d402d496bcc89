import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from '@jest/globals';
import { Queue, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import { startRedis } from '../../dev/services/redis.ts';
import type { Service } from '../../dev/services/service.ts';
import { PollingWorker } from '../../src/bullmq/polling-worker.ts';
import { openRedis } from '../../src/redis/connection.ts';
import { eventually } from '../support/eventually.ts';

const prefix = `test-${process.pid}`;
const reporter = { report: () => undefined };
let service: Service;
let redis: Redis;
let connection: Redis;
/** Waits for Redis' call as a worker does, and never acts on it: to the others it is a frozen one. */
let frozen: Redis;
let queue: Queue;
let worker: PollingWorker<unknown, void, string>;
const taken: string[] = [];

beforeAll(async () => {
  service = await startRedis(() => undefined);
  redis = await openRedis(service.url, 'commands', reporter);
  connection = await openRedis(service.url, 'worker', reporter);
  frozen = await openRedis(service.url, 'worker', reporter);
});
afterAll(async () => {
  for (const each of [redis, connection, frozen]) each?.disconnect();
  await service?.stop();
});
beforeEach(async () => {
  taken.length = 0;
  await redis.flushall();
  queue = new Queue('jobs', { connection: redis, prefix });
});
afterEach(async () => {
  await worker?.close();
  await queue.close();
});

const swallowCall = () => frozen.bzpopmin(`${prefix}:jobs:marker`, 0);

const calls = async (command: string): Promise<number> => {
  const stats = await redis.info('commandstats');
  return Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0);
};

const waiting = async (count: number) =>
  eventually(async () => {
    const clients = (await redis.client('LIST')) as string;
    expect(clients.match(/ flags=b .* cmd=bzpopmin /g) ?? []).toHaveLength(count);
  });

async function startWorker() {
  worker = new PollingWorker('jobs', async ({ name }) => void taken.push(name), { connection, prefix });
  await worker.waitUntilReady();
}

it.each(['no job is there', 'a job is delayed'])(
  'takes a job within seconds that Redis called a frozen worker for, when %s',
  async (situation) => {
    if (situation === 'a job is delayed') await queue.add('behind', {}, { delay: 30_000 });
    // What is delayed calls a worker too, so that it knows until when it may wait.
    await redis.del(`${prefix}:jobs:marker`);
    const swallowed = swallowCall();
    await waiting(1);
    await startWorker();
    await waiting(2);
    const since = performance.now();
    await queue.add('called', {});
    expect(await swallowed).not.toBeNull();
    await eventually(() => expect(taken).toEqual(['called']));
    expect(performance.now() - since).toBeLessThan(3_500);
  },
);

it('asks Redis two things in two seconds while there is nothing to do', async () => {
  await startWorker();
  await waiting(1);
  const before = {
    waits: await calls('bzpopmin'),
    scripts: await calls('evalsha'),
    asked: await calls('exists'),
  };
  const since = performance.now();
  await eventually(async () => expect(await calls('bzpopmin')).toBeGreaterThanOrEqual(before.waits + 3));
  expect(performance.now() - since).toBeGreaterThan(4_000);
  expect((await calls('exists')) - before.asked).toBeLessThanOrEqual(4);
  expect(await calls('evalsha')).toBe(before.scripts);
});

it.each([
  ['waits', {}],
  ['is delayed', { delay: 10 }],
  ['has a priority', { priority: 1 }],
])('finds a job that nobody else acts on, when it %s', async (_, options) => {
  const swallowed = swallowCall();
  await waiting(1);
  await startWorker();
  await waiting(2);
  await queue.add('uncalled', {}, options);
  expect(await swallowed).not.toBeNull();
  await eventually(() => expect(taken).toEqual(['uncalled']));
});

it('puts back a job whose worker died, though nothing else is there', async () => {
  await queue.add('stalled', {});
  const dead = new Worker('jobs', null, { connection, prefix, lockDuration: 50, skipLockRenewal: true });
  expect((await dead.getNextJob('dead', { block: false }))?.name).toBe('stalled');
  await dead.close();
  worker = new PollingWorker('jobs', async ({ name }) => void taken.push(name), {
    connection,
    prefix,
    stalledInterval: 100,
    maxStalledCount: 2,
  });
  await eventually(() => expect(taken).toEqual(['stalled']));
});
