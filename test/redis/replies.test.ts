import { rmSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { startRedis } from '../../dev/services/redis.ts';
import type { Service } from '../../dev/services/service.ts';
import { PollingWorker } from '../../src/bullmq/polling-worker.ts';
import { DatabaseRefusedError, ServiceUnavailableError } from '../../src/errors.ts';
import { calmReporter } from '../../src/instrumentation/calm-reporter.ts';
import { openRedis } from '../../src/redis/connection.ts';
import { judgeRedis, redisError } from '../../src/redis/errors.ts';
import { eventually } from '../support/eventually.ts';

/** Each reply is a real one: the server is brought into the state that answers it. */
const reporter = { report: () => undefined };
const quiet = () => undefined;
const open: { stop(): unknown }[] = [];

async function server(settings: Record<string, string | number> = {}): Promise<Service> {
  const service = await startRedis(quiet, settings);
  open.push(service);
  return service;
}
function client(url: string, options = {}): Redis {
  const redis = new Redis(url, { retryStrategy: () => null, enableReadyCheck: false, ...options });
  redis.on('error', quiet);
  open.push({ stop: () => redis.disconnect() });
  return redis;
}
const failure = async (call: Promise<unknown>): Promise<Error> =>
  call.then(
    () => {
      throw new Error('it succeeded');
    },
    (error: Error) => error,
  );
const portOf = ({ url }: Service) => new URL(url).port;

afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.stop();
});

const set = (redis: Redis) => redis.set('key', 'a secret value');

/** What brings a server into the state, and the command that meets the reply. */
const states: Record<string, () => Promise<() => Promise<unknown>>> = {
  OOM: async () => {
    const redis = client((await server()).url);
    await redis.config('SET', 'maxmemory', '1');
    return () => set(redis);
  },
  READONLY: async () => {
    const redis = client((await server()).url);
    await redis.replicaof('127.0.0.1', 1);
    return () => set(redis);
  },
  MASTERDOWN: async () => {
    const redis = client((await server({ 'replica-serve-stale-data': 'no' })).url);
    await redis.replicaof('127.0.0.1', 1);
    return () => redis.get('key');
  },
  NOREPLICAS: async () => {
    const redis = client((await server()).url);
    await redis.config('SET', 'min-replicas-to-write', '1');
    return () => set(redis);
  },
  MISCONF: async () => {
    const redis = client((await server({ save: '3600 1' })).url);
    const [, directory = ''] = (await redis.config('GET', 'dir')) as string[];
    rmSync(directory, { recursive: true });
    await redis.bgsave();
    await eventually(async () =>
      expect(await redis.info('persistence')).toContain('rdb_last_bgsave_status:err'),
    );
    return () => set(redis);
  },
  BUSY: async () => {
    const { url } = await server({ 'busy-reply-threshold': 50 });
    const stuck = client(url);
    stuck.eval('while true do end', 0).catch(quiet);
    const redis = client(url, { disableClientInfo: true });
    open.push({ stop: () => redis.script('KILL').catch(quiet) });
    await eventually(async () => expect((await failure(set(redis))).message).toContain('BUSY'));
    return () => set(redis);
  },
  LOADING: async () => {
    const master = await server({ 'repl-diskless-sync-delay': 0, 'enable-debug-command': 'local' });
    const filling = client(master.url);
    await filling.call('DEBUG', 'POPULATE', '20000', 'key', '100');
    const slow = { 'key-load-delay': 500, 'loading-process-events-interval-bytes': 1024 };
    const redis = client((await server(slow)).url);
    await redis.replicaof('127.0.0.1', Number(portOf(master)));
    await eventually(async () => expect((await failure(redis.get('key'))).message).toContain('LOADING'));
    return () => redis.get('key');
  },
  NOAUTH: async () => {
    const { url } = await server();
    await client(url).config('SET', 'requirepass', 'hush');
    return () => set(client(url));
  },
  WRONGPASS: async () => {
    const { url } = await server();
    const redis = client(url);
    return () => redis.auth('nobody', 'hush');
  },
  NOPERM: async () => {
    const { url } = await server();
    await client(url).call('ACL', 'SETUSER', 'reader', 'on', 'nopass', '~*', '&*', '+@read');
    return () => set(client(url, { username: 'reader', password: 'x' }));
  },
  CLUSTERDOWN: async () => {
    const redis = client((await server({ 'cluster-enabled': 'yes' })).url);
    return () => set(redis);
  },
  CROSSSLOT: async () => {
    const redis = client((await server({ 'cluster-enabled': 'yes' })).url);
    await redis.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383');
    await eventually(async () => expect(await redis.cluster('INFO')).toContain('cluster_state:ok'));
    return () => redis.mget('a', 'b');
  },
};

const permanent = ['NOAUTH', 'WRONGPASS', 'NOPERM', 'CROSSSLOT'];

describe('a Redis that answers errors is away', () => {
  it.each(Object.keys(states))('%s', async (code) => {
    const meet = await states[code]?.();
    const error = await failure(meet?.() ?? Promise.resolve());
    expect(judgeRedis(error)).toEqual({ code, applied: 'no', permanent: permanent.includes(code) });
    const ours = redisError(error);
    expect(ours).toMatchObject({ service: 'redis', constructor: ServiceUnavailableError });
    expect(JSON.stringify((ours as Error).cause)).not.toMatch(/secret|hush/);
  });

  it('but one that finds fault with the command is not', async () => {
    const redis = client((await server()).url);
    await redis.set('text', 'a secret value');
    for (const call of [redis.incr('text'), redis.lpush('text', 'a secret value'), redis.call('NONSENSE')]) {
      const error = await failure(call);
      expect(judgeRedis(error)).toBeUndefined();
      expect(redisError(error)).toMatchObject({ constructor: DatabaseRefusedError, cause: error });
      expect(JSON.stringify(error)).not.toContain('secret');
    }
  });
});

describe('a worker on a Redis that answers errors', () => {
  const prefix = `replies-${process.pid}`;
  const ways: Record<
    string,
    { settings: object; break(redis: Redis): Promise<unknown>; mend(redis: Redis): Promise<unknown> }
  > = {
    full: {
      settings: {},
      break: (redis) => redis.config('SET', 'maxmemory', '1'),
      mend: (redis) => redis.config('SET', 'maxmemory', '0'),
    },
    'a replica now': {
      settings: {},
      break: (redis) => redis.replicaof('127.0.0.1', 1),
      mend: (redis) => redis.replicaof('NO', 'ONE'),
    },
  };
  let service: Service;
  let redis: Redis;
  beforeAll(async () => {
    service = await startRedis(quiet, {});
    redis = new Redis(service.url);
  });
  afterAll(async () => {
    redis?.disconnect();
    await service?.stop();
  });

  it.each(Object.keys(ways))(
    '(%s) asks now and then, tells it once, and is back at work by itself',
    async (name) => {
      const way = ways[name];
      const told: string[] = [];
      const calm = calmReporter({ report: (error) => told.push((error as Error).message) });
      const connection = await openRedis(service.url, 'worker', reporter);
      const queue = new Queue(`jobs-${name.length}`, { connection: redis, prefix });
      const taken: string[] = [];
      let errors = 0;
      await queue.add('waiting', {});
      // Work that is there and cannot be taken: a worker that knows of some does not wait between two reads.
      await way?.break(redis);
      const process = async ({ name: job }: { name: string }) => void taken.push(job);
      const worker = new PollingWorker(queue.name, process, { connection, prefix });
      worker.on('error', (error) => {
        errors += 1;
        calm.report(error, { action: 'worker', severity: 'warning' });
      });
      try {
        await worker.waitUntilReady();
        await eventually(() => expect(errors).toBeGreaterThan(2));
        const since = { errors, at: performance.now() };
        // Five more tries: each of them waits longer, up to a second.
        await eventually(() => expect(errors).toBeGreaterThanOrEqual(since.errors + 5));
        expect(performance.now() - since.at).toBeGreaterThan(1_000);
        expect(told.length).toBeLessThanOrEqual(3);
        await way?.mend(redis);
        await queue.add('after', {});
        await eventually(() => expect(taken).toEqual(['waiting', 'after']), 5_000);
      } finally {
        await way?.mend(redis);
        await worker.close();
        await queue.close();
        connection.disconnect();
      }
    },
  );
});
