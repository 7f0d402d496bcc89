import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { startMongo } from '../../dev/services/mongo.ts';
import { startRedis } from '../../dev/services/redis.ts';
import type { Service } from '../../dev/services/service.ts';
import { withDatabase } from '../support/database.ts';
import { installOutside, type Outside } from './outside.ts';

let outside: Outside;
let redis: Service;
let mongo: Service;
beforeAll(async () => {
  outside = installOutside('@opentelemetry/api', '@opentelemetry/core', '@opentelemetry/sdk-trace-base');
  [redis, mongo] = await Promise.all([startRedis(() => undefined), startMongo()]);
});
afterAll(async () => {
  await Promise.all([redis?.stop(), mongo?.stop()]);
  outside?.remove();
});

it('an error is known by its code and its brand in every copy of the package', async () => {
  const script = `
    import { createRequire } from 'node:module';
    const module = await import('opencode-turns');
    const required = createRequire(import.meta.url)('opencode-turns');
    const errorOf = ({ connect }) => connect({ redis: 7 }).then(() => undefined, (error) => error);
    const errors = [await errorOf(module), await errorOf(required)];
    console.log(JSON.stringify({
      codes: errors.map(({ code }) => code),
      sameClass: errors.map((error) => error instanceof module.TurnsError),
      known: [module, required].map(({ isTurnsError }) => errors.map(isTurnsError)),
      others: [new Error('x'), { code: 'invalid_config' }, null, undefined, 'x', 7].map(module.isTurnsError),
    }));`;
  expect(JSON.parse(await outside.node([outside.write('copies.mjs', script)]))).toEqual({
    codes: ['invalid_config', 'invalid_config'],
    sameClass: [true, false],
    known: [
      [true, true],
      [true, true],
    ],
    others: [false, false, false, false, false, false],
  });
});

const spans = (load: string, name: string) => `
  const main = async () => {
    const [{ connect }, { otelTracer }, { trace }, { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor }] =
      await Promise.all(['opencode-turns', 'opencode-turns/otel', '@opentelemetry/api', '@opentelemetry/sdk-trace-base']
        .map((name) => ${load}(name)));
    const exporter = new InMemorySpanExporter();
    trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }));
    const names = [];
    for (const tracer of [undefined, otelTracer()]) {
      const turns = await connect({
        redis: process.env.REDIS, mongo: process.env.MONGO, opencode: { url: 'http://127.0.0.1:9' }, sandboxRoot: '/tmp',
        prefix: '${name}', reporter: { report() {} }, ...(tracer ? { tracer } : {}),
      });
      const conversation = await turns.models.Conversation.create({});
      await turns.enqueue({ conversation, text: 'hello' });
      await turns.close();
      names.push(exporter.getFinishedSpans().map((span) => span.name));
      exporter.reset();
    }
    console.log(JSON.stringify(names));
  };
  main();`;

it.each([
  ['as a module', 'spans.mjs', '(name) => import(name)'],
  ['in CommonJS', 'spans.cjs', 'require'],
])('with the API of OpenTelemetry installed there are spans, %s', async (_, file, load) => {
  const env = { REDIS: redis.url, MONGO: withDatabase(mongo.url, `test_${file.slice(-3)}`) };
  const script = outside.write(file, spans(`(${load})`, file.slice(-3)));
  const [found, given] = JSON.parse(await outside.node([script], env)) as [string[], string[]];
  expect(found).toContain('turn.enqueue');
  expect(given).toContain('turn.enqueue');
});
