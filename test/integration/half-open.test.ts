import { once } from 'node:events';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { startRedis } from '../../dev/services/redis.ts';
import type { Service } from '../../dev/services/service.ts';
import {
  connect,
  InvalidConfigError,
  type ReportContext,
  type Turns,
  type TurnsOptions,
} from '../../src/index.ts';
import { startDatabase, type TestDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { startTcpProxy, type TcpProxy, through } from '../support/tcp-proxy.ts';

/** Whatever fails in the middle of `connect` or `work` leaves nothing open and nothing running. */
let database: TestDatabase;
let service: Service;
let wire: TcpProxy;
let databaseWire: TcpProxy;
let admin: Redis;
let options: TurnsOptions & { readonly redis: string };
const reports: ReportContext[] = [];

beforeAll(async () => {
  [database, service] = await Promise.all([startDatabase(), startRedis(() => undefined, {})]);
  wire = await startTcpProxy(service.url);
  databaseWire = await startTcpProxy(/^mongodb:\/\/[^/]+/.exec(database.url)?.[0] ?? '');
  admin = new Redis(service.url);
  await admin.ping();
  options = {
    redis: service.url,
    mongo: database.url,
    opencode: { url: 'http://127.0.0.1:1' },
    prefix: 'half-open',
    sandboxRoot: '/tmp/half-open',
    connectTimeoutMs: 1_000,
    reporter: { report: (_, context) => void reports.push(context) },
  };
}, 60_000);
afterAll(async () => {
  await wire?.stop();
  await databaseWire?.stop();
  admin?.disconnect();
  await service?.stop();
  await database?.stop();
});
afterEach(async () => {
  wire.restore();
  databaseWire.restore();
  wire.limit(Number.POSITIVE_INFINITY);
  await admin.config('SET', 'maxmemory', '0');
});

const clients = async () =>
  String(await admin.client('LIST'))
    .trim()
    .split('\n').length;
/** What this process holds: sockets of every kind, and connections as Redis counts them. */
const held = async () => ({
  sockets: process.getActiveResourcesInfo().filter((name) => /TCP|TLS|Pipe/.test(name)).length,
  clients: await clients(),
});
/** Once it stays the same: a probe of a service that has just started closes its socket in its own time. */
async function settled(): Promise<Awaited<ReturnType<typeof held>>> {
  let before = await held();
  let looks = 0;
  await eventually(async () => {
    const now = await held();
    looks = now.sockets === before.sockets && now.clients === before.clients ? looks + 1 : 0;
    before = now;
    expect(looks).toBeGreaterThanOrEqual(20);
  });
  return before;
}
/** Nothing is held that was not before, and nothing goes on: reports would tell. */
async function leavesNothing(attempt: () => Promise<unknown>): Promise<unknown> {
  await eventually(async () => expect(wire.connections).toBe(0));
  const before = await settled();
  const error = await attempt().then(
    () => undefined,
    (thrown) => thrown,
  );
  expect(error).toBeInstanceOf(Error);
  await eventually(async () => expect(await held()).toEqual(before));
  return error;
}

describe('connect', () => {
  const ways: Record<string, () => Partial<TurnsOptions>> = {
    'no server is named': () => ({ opencode: [] }),
    'the second server has no URL': () => ({
      opencode: [{ url: 'http://127.0.0.1:1' }, { url: 'nonsense' }],
    }),
    'MongoDB is away': () => ({ mongo: 'mongodb://127.0.0.1:1/none' }),
    'Redis is away': () => ({ redis: 'redis://127.0.0.1:1' }),
    'Redis has no room for the second connection': () => {
      wire.limit(1);
      return { redis: through(wire, service.url) };
    },
    'the sandbox is no path': () => ({ sandboxRoot: 'relative' }),
  };
  it.each(Object.keys(ways))('(%s) closes what it opened', async (name) => {
    await leavesNothing(() => connect({ ...options, ...ways[name]?.() }));
  });

  it.each(['redis', 'mongo'] as const)(
    'a %s that takes the connection and falls silent at any step of it is given up in time, and nothing stays open',
    async (service) => {
      const proxy = service === 'redis' ? wire : databaseWire;
      const url = through(proxy, options[service]);
      const silent = { ...options, [service]: url, connectTimeoutMs: 400 };
      let steps = 0;
      for (let opened = false; !opened; steps += 1) {
        proxy.freezeAfter(steps);
        const error = await leavesNothing(async () => {
          // The proxy sees that a socket is gone once it goes on.
          const turns = await connect(silent).finally(() => proxy.restore());
          opened = true;
          await turns.close();
          throw new Error('connected');
        });
        if (!opened) expect(error).toMatchObject({ code: 'service_unavailable', effect: 'none' });
      }
      expect(steps).toBeGreaterThan(2);
    },
    120_000,
  );

  it('refuses a Redis Cluster, which would take turns and lose them', async () => {
    const cluster = await startRedis(() => undefined, { 'cluster-enabled': 'yes' });
    try {
      const error = await leavesNothing(() => connect({ ...options, redis: cluster.url }));
      expect(error).toBeInstanceOf(InvalidConfigError);
      expect(error).toMatchObject({ setting: 'redis' });
      const node = new Redis(cluster.url);
      await node.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383');
      await eventually(async () => expect(await node.cluster('INFO')).toContain('cluster_state:ok'));
      // Gone before the sockets are counted: one that is closing counts as open for a moment.
      const gone = once(node, 'end');
      node.disconnect();
      await gone;
      expect(await leavesNothing(() => connect({ ...options, redis: cluster.url }))).toBeInstanceOf(
        InvalidConfigError,
      );
    } finally {
      await cluster.stop();
    }
  });
});

describe('work', () => {
  const policies = { default: {} };
  const sweeper = { everyMs: 200 };
  const ways: Record<string, (turns: Turns) => Promise<unknown>> = {
    'no policy': (turns) => turns.work({ policies: {} }),
    'Redis has no room for its connection': (turns) => {
      wire.limit(2);
      return turns.work({ policies });
    },
    'Redis is full': async (turns) => {
      await admin.config('SET', 'maxmemory', '1');
      return turns.work({ policies, sweeper });
    },
    'a time that is none': (turns) => turns.work({ policies, stalledCheckMs: 0, sweeper }),
    'room for nothing': (turns) => turns.work({ policies, concurrency: Number.NaN, sweeper }),
  };
  it.each(Object.keys(ways))('(%s) closes what it opened, and can be called again', async (name) => {
    const turns = await connect({ ...options, redis: through(wire, service.url) });
    try {
      await turns.createIndexes();
      const before = { wires: wire.connections, ...(await held()) };
      await expect(ways[name]?.(turns)).rejects.toBeInstanceOf(Error);
      await eventually(async () => expect({ wires: wire.connections, ...(await held()) }).toEqual(before));
      await admin.config('SET', 'maxmemory', '0');
      wire.limit(Number.POSITIVE_INFINITY);
      await admin.flushall();
      // A sweeper that went on would ask for its lease, which is missing now.
      const worker = await turns.work({ policies, sweeper: { everyMs: 60_000 } });
      await worker.stop(0);
      reports.length = 0;
    } finally {
      await turns.close();
    }
    await eventually(() => expect(wire.connections).toBe(0));
    expect(reports).toEqual([]);
  });

  it.each(['redis', 'mongo'] as const)(
    'a %s that falls silent at any step of it is given up in time, and nothing stays open',
    async (service) => {
      const proxy = service === 'redis' ? wire : databaseWire;
      const url = through(proxy, options[service]);
      let steps = 0;
      for (let started = false; !started; steps += service === 'redis' ? 2 : 1) {
        const turns = await connect({ ...options, [service]: url, connectTimeoutMs: 400 });
        await turns.createIndexes();
        const before = await settled();
        proxy.freezeAfter(steps);
        const outcome = await turns.work({ policies, sweeper: { everyMs: 60_000 } }).catch((error) => error);
        proxy.restore();
        if (outcome instanceof Error) {
          expect(outcome).toMatchObject({ code: 'service_unavailable' });
          await eventually(async () => expect(await held()).toEqual(before));
        } else {
          started = true;
          await outcome.stop(0);
        }
        await turns.close();
      }
      expect(steps).toBeGreaterThan(1);
    },
    120_000,
  );
});
