/**
 * Whoever can write to Redis can put anything under any key: each call of ours that meets a key of another kind is
 * answered, or throws an error of ours. Each of our keys is replaced by each kind, one at a time, in front of each call.
 */
import { afterAll, beforeAll, beforeEach, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { startRedis } from '../../dev/services/redis.ts';
import type { Service } from '../../dev/services/service.ts';
import { queueName, turnJobId } from '../../src/bullmq/turn-job.ts';
import { BullTurnJobs } from '../../src/bullmq/turn-jobs.ts';
import { TurnWorker } from '../../src/bullmq/turn-worker.ts';
import { isTurnsError } from '../../src/errors.ts';
import { noopTracer } from '../../src/instrumentation/tracer.ts';
import { ConversationLock } from '../../src/redis/lock.ts';
import { controlNotifier } from '../../src/redis/notifier.ts';
import { OrphanStreams } from '../../src/redis/orphan-streams.ts';
import { PolicyAgreement } from '../../src/redis/policy-agreement.ts';
import { Sweeper } from '../../src/redis/sweeper.ts';
import { streamKeys, TurnStream } from '../../src/redis/turn-stream.ts';
import { systemClock } from '../../src/timing/clock.ts';
import { beginning } from '../../src/turn/stream-position.ts';
import { eventually } from '../support/eventually.ts';

let service: Service;
let redis: Redis;
let stream: TurnStream;
let jobs: BullTurnJobs;
const reports: unknown[] = [];
const reporter = { report: (error: unknown) => void reports.push(error) };
const prefix = `keys-${process.pid}`;
const id = '0123456789abcdef01234567';
const turn = { id, conversationId: id, policy: 'default' } as never;
const fence = { turnId: id, epoch: 1 };

beforeAll(async () => {
  service = await startRedis(() => undefined);
  redis = new Redis(service.url, { maxRetriesPerRequest: 1 });
  stream = new TurnStream({ redis, prefix });
  jobs = new BullTurnJobs(redis, prefix, reporter);
}, 60_000);
afterAll(async () => {
  await jobs?.close();
  redis?.disconnect();
  await service?.stop();
});
beforeEach(async () => {
  await redis.flushall();
  reports.length = 0;
});

/** Each leaves a key of its kind. */
const kinds: Readonly<Record<string, (key: string) => Promise<unknown>>> = {
  string: (key) => redis.set(key, 'x'),
  list: (key) => redis.rpush(key, 'x'),
  set: (key) => redis.sadd(key, 'x'),
  'sorted set': (key) => redis.zadd(key, 1, 'x'),
  hash: (key) => redis.hset(key, 'x', 'x'),
  stream: (key) => redis.xadd(key, '*', 'x', 'x'),
};

const keysOfStream = Object.values(streamKeys(prefix, id)).slice(0, 2);
const bull = (name: string) => `${prefix}:${queueName}:${name}`;
const keysOfQueue = [
  ...[
    'meta',
    'id',
    'wait',
    'paused',
    'active',
    'delayed',
    'prioritized',
    'completed',
    'failed',
    'events',
    'marker',
  ],
  ...[
    'pc',
    'stalled',
    'waiting-children',
    turnJobId(id),
    `${turnJobId(id)}:lock`,
    `${turnJobId(id)}:dependencies`,
  ],
].map(bull);
const chores = { none: async () => 0 };
const sweeper = () => new Sweeper({ redis, prefix, owner: 'me', reporter, everyMs: 60_000, chores });
const agreement = () => new PolicyAgreement({ redis, prefix, owner: 'me', reporter, policies: { a: {} } });
const stray = () =>
  new OrphanStreams({
    redis,
    prefix,
    stream,
    reporter,
    store: { get: async () => null } as never,
    quietMs: 0,
  });
const lock = () => new ConversationLock({ redis, prefix, reporter, waitMs: 100, awayMs: 100 });

/** A call, the keys that it reads or writes, and what stands there before. */
const calls: Readonly<
  Record<string, { keys: readonly string[]; before?: () => Promise<unknown>; call: () => Promise<unknown> }>
> = {
  'stream.open': { keys: keysOfStream, call: () => stream.open(fence) },
  'stream.append': {
    keys: keysOfStream,
    call: () => stream.append(fence, 'any', [{ type: 'progress', progress: 'started' }]),
  },
  'stream.end': { keys: keysOfStream, call: () => stream.end(fence, { status: 'completed', text: 'x' }) },
  'stream.read': { keys: keysOfStream, call: () => stream.read(id, beginning, { count: 10, bytes: 1_000 }) },
  'stream.isQuiet': { keys: keysOfStream, call: () => stream.isQuiet(id, 0) },
  'stream.remove': { keys: keysOfStream, call: () => stream.remove(id) },
  'stray streams': { keys: keysOfStream, call: () => stray().step() },
  sweeper: {
    keys: [`${prefix}:sweeper`],
    call: async () => {
      const one = sweeper();
      await one.start();
      await one.close();
    },
  },
  'policy agreement': {
    keys: [`${prefix}:policy:a`],
    call: async () => {
      const one = agreement();
      await one.start();
      await one.close();
    },
  },
  'control.notify': {
    keys: [`${prefix}:control`],
    call: () => controlNotifier({ subscriber: {} as never, redis, prefix }).notify(id) as Promise<unknown>,
  },
  'lock that is there': { keys: [`${prefix}:lock:a`], call: () => lock().run('a', async () => 'done') },
  'lock that is taken away': {
    keys: [],
    call: () =>
      lock().run('a', async () => {
        await redis.del(`${prefix}:lock:a`);
        await redis.rpush(`${prefix}:lock:a`, 'x');
      }),
  },
  'jobs.add': { keys: keysOfQueue, call: () => jobs.add(turn, false) },
  'jobs.add behind': { keys: keysOfQueue, call: () => jobs.add(turn, true) },
  'jobs.ensure a job that is absent': { keys: keysOfQueue, call: () => jobs.ensure(turn, { now: true }) },
  'jobs.ensure a job that waits': {
    keys: keysOfQueue,
    before: () => jobs.add(turn, true),
    call: () => jobs.ensure(turn, { now: true }),
  },
  'jobs.ensure a job that is due': {
    keys: keysOfQueue,
    before: () => jobs.add(turn, true),
    call: () => jobs.ensure(turn, { now: false }),
  },
  'jobs.wake': {
    keys: keysOfQueue,
    before: () => jobs.add(turn, true),
    call: () => jobs.wake(turn),
  },
};

const isRaw = (error: unknown) => !isTurnsError(error);

it.each(Object.keys(calls))('%s', async (name) => {
  const { keys, before, call } = calls[name] ?? { keys: [], call: async () => undefined };
  const raw: unknown[] = [];
  for (const key of keys.length > 0 ? keys : [''])
    for (const [kind, plant] of Object.entries(kinds)) {
      await redis.flushall();
      await before?.();
      if (key !== '') {
        await redis.del(key);
        await plant(key);
      }
      const error = await call().then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      const all = [...(error === undefined ? [] : [error]), ...reports.splice(0)];
      for (const each of all.filter(isRaw)) raw.push(`${key} as ${kind}: ${String(each)}`);
      if (keys.length === 0) break;
    }
  expect(raw).toEqual([]);
});

it.each(['wait', 'active', 'delayed', 'meta', 'marker'])(
  'a worker whose "%s" is a text tells it',
  async (name) => {
    const connection = new Redis(service.url, { maxRetriesPerRequest: null });
    const deps = { reporter, clock: systemClock, owner: 'me', tracer: noopTracer, jobs } as never;
    const worker = new TurnWorker(deps, {
      ...{ connection, prefix },
      ...{ concurrency: 50, lockMs: 15_000, stalledCheckMs: 50 },
    });
    try {
      await worker.ready();
      await redis.del(bull(name));
      await redis.set(bull(name), 'x');
      if (name !== 'delayed') await redis.zadd(bull('delayed'), 1, 'turn-x');
      await eventually(() => expect(reports.length).toBeGreaterThan(0));
      expect(reports.filter(isRaw).map(String)).toEqual([]);
    } finally {
      await worker.close();
      connection.disconnect();
    }
  },
);
