import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { startRedis } from '../../dev/services/redis.ts';
import type { Service } from '../../dev/services/service.ts';
import type { Turns } from '../../src/index.ts';
import { eventually } from '../support/eventually.ts';
import { type RawCollector, startRawCollector } from '../support/raw-collector.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { newConversation, runTurn } from '../support/turns.ts';
import { startWorkerProcess, type WorkerProcess } from '../support/worker-process.ts';

interface Sent {
  readonly resourceSpans: readonly {
    readonly scopeSpans: readonly {
      readonly spans: readonly { name: string; status?: { code?: number }; events?: { name: string }[] }[];
    }[];
  }[];
}

let system: TestSystem;
let service: Service;
let admin: Redis;
let collector: RawCollector;
let turns: Turns;
let worker: WorkerProcess;

beforeAll(async () => {
  // A Redis of its own, since its scripts are forgotten, and nobody else's.
  [system, service, collector] = await Promise.all([
    startSystem(),
    startRedis(() => undefined, {}),
    startRawCollector(),
  ]);
  admin = new Redis(service.url);
  const options = { ...system.options, redis: service.url };
  turns = await system.connect({ redis: service.url });
  worker = await startWorkerProcess(
    { ...system, options },
    { ...system.env, OTEL_EXPORTER_OTLP_ENDPOINT: collector.url },
  );
}, 90_000);
afterAll(async () => {
  worker?.kill('SIGTERM');
  await worker?.exited;
  admin?.disconnect();
  await system?.stop();
  await service?.stop();
  collector?.stop();
});

/** Everything that the worker has exported, without the line of headers in front of each body. */
const spans = () =>
  collector
    .sent('/v1/traces')
    .split('\n')
    .filter((line) => line.startsWith('{"resourceSpans"'))
    .flatMap((line) => (JSON.parse(line) as Sent).resourceSpans)
    .flatMap(({ scopeSpans }) => scopeSpans.flatMap((scope) => scope.spans));
const refusals = async () =>
  Number(/errorstat_NOSCRIPT:count=(\d+)/.exec(await admin.info('errorstats'))?.[1] ?? 0);

it('turns that go well have no failed span, on a fresh Redis and on one that has forgotten its scripts', async () => {
  system.respond(() => ({ text: ['fine'] }));
  expect((await runTurn(turns, await newConversation(turns), 'one')).stored.status).toBe('completed');
  // A Redis that is new to everybody is asked for no script that it cannot know.
  expect(await refusals()).toBe(0);
  await admin.script('FLUSH');
  expect((await runTurn(turns, await newConversation(turns), 'two')).stored.status).toBe('completed');
  expect(await refusals()).toBeGreaterThan(0);
  await eventually(() => expect(spans().filter(({ name }) => name === 'turn.process')).toHaveLength(2));
  expect(spans().some(({ name }) => name === 'evalsha')).toBe(true);
  const bad = spans().filter(
    ({ status, events = [] }) => status?.code === 2 || events.some(({ name }) => name === 'exception'),
  );
  expect(bad).toEqual([]);
}, 60_000);
