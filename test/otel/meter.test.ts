import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { metrics as api } from '@opentelemetry/api';
import {
  AggregationTemporality,
  createAllowListAttributesProcessor,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import { attributeNames } from '../../src/instrumentation/attributes.ts';
import { metrics } from '../../src/instrumentation/metrics.ts';
import { otelMeter } from '../../src/otel/meter.ts';
import { signalsFromEnv } from '../../src/otel/signals.ts';

const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
const reader = new PeriodicExportingMetricReader({ exporter });
const meter = otelMeter();
let levels = 2;
/** Begun before there is an SDK, as in a host that starts its own late. */
const end = meter.observe('opencode_turns.waiting', async () => [
  { value: levels, attributes: { 'job.state': 'ready' } },
]);

beforeAll(() => {
  meter.add('opencode_turns.enqueued', 1);
  // As our own SDK has it: what has no row in the table of attributes is dropped.
  const attributesProcessors = [createAllowListAttributesProcessor([...attributeNames])];
  api.setGlobalMeterProvider(
    new MeterProvider({ readers: [reader], views: [{ instrumentName: '*', attributesProcessors }] }),
  );
});
afterAll(async () => {
  await reader.shutdown();
  api.disable();
});

async function collected() {
  exporter.reset();
  await reader.forceFlush();
  const all = exporter.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics.flatMap((one) => one.metrics));
  return new Map(all.map(({ descriptor, dataPoints }) => [descriptor.name, { descriptor, dataPoints }]));
}

it('tells kind, unit, description and buckets of the table, and every attribute of it', async () => {
  const told = { 'turn.policy': 'default', 'gen_ai.request.model': 'm' };
  meter.add('opencode_turns.cost', 0.5, { ...told, 'gen_ai.provider.name': 'p' });
  meter.add('opencode_turns.cost', 0.25, { ...told, 'gen_ai.provider.name': 'p' });
  meter.measure('opencode_turns.time_to_first_token', 3, told);
  const found = await collected();
  const { unit, description } = metrics['opencode_turns.cost'];
  expect(found.get('opencode_turns.cost')).toMatchObject({
    descriptor: { unit, description },
    dataPoints: [{ value: 0.75, attributes: { ...told, 'gen_ai.provider.name': 'p' } }],
  });
  expect(found.get('opencode_turns.time_to_first_token')).toMatchObject({
    descriptor: { unit: 's' },
    dataPoints: [
      {
        attributes: told,
        value: {
          count: 1,
          sum: 3,
          buckets: { boundaries: metrics['opencode_turns.time_to_first_token'].buckets },
        },
      },
    ],
  });
  // Every attribute of a metric has a row there.
  const used = Object.values(metrics).flatMap(({ attributes }) => [...attributes]);
  expect(used.filter((name) => !attributeNames.includes(name))).toEqual([]);
});

it('a gauge is read at each collection, until it ends', async () => {
  meter.add('opencode_turns.enqueued', 1);
  const value = async () => (await collected()).get('opencode_turns.waiting')?.dataPoints;
  expect(await value()).toMatchObject([{ value: 2, attributes: { 'job.state': 'ready' } }]);
  levels = 5;
  expect(await value()).toMatchObject([{ value: 5 }]);
  end();
  // Nothing asks any more; an exporter may repeat what it had.
  levels = 9;
  expect(JSON.stringify(await value()) ?? '').not.toContain('"value":9');
});

it('of several that observe one gauge each counts: its own share, or the last of what each tells in whole', async () => {
  const other = otelMeter();
  const ends = [
    meter.observe('opencode_turns.running', async () => [{ value: 2 }]),
    other.observe('opencode_turns.running', async () => [{ value: 3 }]),
    meter.observe('opencode_turns.waiting', async () => [
      { value: 4, attributes: { 'job.state': 'delayed' } },
    ]),
    other.observe('opencode_turns.waiting', async () => [
      { value: 4, attributes: { 'job.state': 'delayed' } },
    ]),
  ];
  const running = async () => (await collected()).get('opencode_turns.running')?.dataPoints;
  expect(await running()).toMatchObject([{ value: 5 }]);
  const waiting = (await collected()).get('opencode_turns.waiting')?.dataPoints ?? [];
  expect(waiting.filter(({ attributes }) => attributes['job.state'] === 'delayed')).toMatchObject([
    { value: 4 },
  ]);
  ends[0]?.();
  expect(await running()).toMatchObject([{ value: 3 }]);
  for (const end of ends) end();
});

it.each([
  [{}, false, false],
  [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://x' }, true, true],
  [{ OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: 'http://x' }, false, true],
  [{ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://x' }, true, false],
  [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://x', OTEL_METRICS_EXPORTER: 'none' }, true, false],
  [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://x', OTEL_TRACES_EXPORTER: 'none' }, false, true],
])('%j: traces %s, metrics %s', (env, traces, measured) => {
  expect(signalsFromEnv(env)).toEqual({ traces, metrics: measured });
});
