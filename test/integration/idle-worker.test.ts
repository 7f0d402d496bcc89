import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { startMongo } from '../../dev/services/mongo.ts';
import { startRedis } from '../../dev/services/redis.ts';
import type { Service } from '../../dev/services/service.ts';
import { connect, type Turns, type TurnsOptions } from '../../src/index.ts';
import { withDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { MongoReplyProxy } from '../support/mongo-reply-proxy.ts';
import { startWorkerProcess, type WorkerProcess } from '../support/worker-process.ts';

const prefix = `idle-${process.pid}`;
/** Nobody listens there: an idle worker has nothing to ask a server but for sessions that nobody knows. */
const opencode = { url: 'http://127.0.0.1:9', password: 'none' };
const observedMs = 30_000;
const maxPerSecond = 2;

const sandboxRoot = mkdtempSync(path.join(tmpdir(), 'opencode-turns-sandbox-'));
let service: Service;
let mongo: Service;
let proxy: MongoReplyProxy;
let redis: Redis;
let worker: WorkerProcess | undefined;
let turns: Turns | undefined;
let options: TurnsOptions & { readonly redis: string };

beforeAll(async () => {
  // A server of its own: everything that it counts is this worker's.
  [service, mongo] = await Promise.all([startRedis(() => undefined, {}), startMongo()]);
  proxy = await MongoReplyProxy.start(withDatabase(mongo.url, `idle_${process.pid}`));
  redis = new Redis(service.url);
  options = { redis: service.url, mongo: proxy.url, prefix, opencode };
}, 60_000);
afterAll(async () => {
  worker?.kill('SIGTERM');
  await worker?.exited;
  await turns?.close();
  redis?.disconnect();
  await proxy?.stop();
  await Promise.all([service?.stop(), mongo?.stop()]);
  rmSync(sandboxRoot, { recursive: true, force: true });
});

/** Calls by command since the start of Redis; not those of the one who asks. */
async function calls(): Promise<Map<string, number>> {
  const stats = await redis.info('commandstats');
  const rows = [...stats.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)];
  return new Map(
    rows.filter(([, name]) => name !== 'info').map(([, name = '', count]) => [name, Number(count)]),
  );
}

it('an idle worker as shipped: at most two commands a second to Redis, those of scripts included', async () => {
  const env = { OPENCODE_TURNS_LOCK_MS: undefined, OPENCODE_TURNS_STALLED_CHECK_MS: undefined };
  worker = await startWorkerProcess({ options, opencode, sandboxRoot }, env);
  // Once it waits for jobs, all that its start costs is done.
  await eventually(async () => expect((await calls()).get('bzpopmin') ?? 0).toBeGreaterThan(1));
  const before = await calls();
  const since = performance.now();
  await new Promise((resolve) => setTimeout(resolve, observedMs));
  const after = await calls();
  const seconds = (performance.now() - since) / 1_000;
  const spent = [...after].map(([name, count]) => ({ name, count: count - (before.get(name) ?? 0) }));
  const total = spent.reduce((sum, { count }) => sum + count, 0);
  // A failure says who asks too often.
  expect(total <= maxPerSecond * seconds ? [] : spent.filter(({ count }) => count > 0)).toEqual([]);
  worker.kill('SIGTERM');
  await worker.exited;
}, 90_000);

it('a sweep that finds nothing asks MongoDB four things at most: one in almost four seconds, as shipped', async () => {
  turns = await connect({ ...options, sandboxRoot, reporter: { report: () => undefined } });
  const before = (await calls()).get('scan') ?? 0;
  proxy.commands.length = 0;
  await turns.work({ policies: { default: {} }, sweeper: { everyMs: 100 } });
  const sweeps = async () => ((await calls()).get('scan') ?? 0) - before;
  await eventually(async () => expect(await sweeps()).toBeGreaterThan(20));
  const finds = proxy.commands.filter(({ name }) => name === 'find').length;
  // One more sweep may have begun.
  expect(finds).toBeLessThanOrEqual(4 * ((await sweeps()) + 1));
});
