import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { calmReporter } from '../../src/instrumentation/calm-reporter.ts';
import { type ErrorReporter, safeReporter } from '../../src/instrumentation/error-reporter.ts';
import type { Logger } from '../../src/instrumentation/logger.ts';
import type { Meter } from '../../src/instrumentation/meter.ts';
import { safeLogger } from '../../src/instrumentation/safe-logger.ts';
import { safeMeter } from '../../src/instrumentation/safe-meter.ts';
import { safeTracer } from '../../src/instrumentation/safe-tracer.ts';
import { noopTracer, type Tracer } from '../../src/instrumentation/tracer.ts';

/** A port of the host all of whose methods do one thing; those of what it returns, too. */
const portThat = <T extends object>(does: () => unknown): T => new Proxy({} as T, { get: () => does }) as T;

const broken = (): never => {
  throw new Error('broken');
};
/** Each breaks its word in another way. */
const ways: readonly [string, () => unknown][] = [
  ['throws', broken],
  [
    'throws nothing',
    () => {
      throw undefined;
    },
  ],
  [
    'throws what cannot be printed',
    () => {
      throw Object.create(null);
    },
  ],
  ['rejects', async () => broken()],
  ['hangs', () => new Promise(() => undefined)],
  ['returns nothing', () => undefined],
  ['returns rubbish', () => Object.create(null)],
  ['returns a function', () => broken],
  [
    'returns what throws when it is looked at',
    () => ({
      // biome-ignore lint/suspicious/noThenProperty: whoever asks whether it is a promise meets it
      get then() {
        return broken();
      },
    }),
  ],
];

/** Everything that the library calls of a port, once. */
const uses: Readonly<Record<string, (does: () => unknown, told: ErrorReporter) => unknown>> = {
  tracer: async (does, told) => {
    const tracer = safeTracer(portThat<Tracer>(does), told);
    expect(await tracer.span('turn.process', {}, async () => 7)).toBe(7);
    tracer.event('turn.adopted');
    expect(tracer.carrier()).toEqual({});
    expect(tracer.traceId()).toBeUndefined();
  },
  'span of a tracer': async (does, told) => {
    const tracer = safeTracer({ ...noopTracer, span: (_name, _options, fn) => fn(portThat(does)) }, told);
    const work = async (span: Parameters<Parameters<Tracer['span']>[2]>[0]) => {
      span.set({ 'turn.id': 'x' });
      span.event('turn.adopted');
      return 7;
    };
    expect(await tracer.span('turn.process', {}, work)).toBe(7);
  },
  logger: (does) => {
    const logger = safeLogger(portThat<Logger>(does));
    for (const level of ['info', 'warn', 'error'] as const) logger[level]({ turnId: 'x' }, 'test');
  },
  meter: (does, told) => {
    const meter = safeMeter(portThat<Meter>(does), told);
    meter.add('opencode_turns.enqueued', 1);
    meter.measure('opencode_turns.queue.wait', 1, { 'turn.policy': 'default' });
    meter.observe('opencode_turns.running', async () => [{ value: 1 }])();
  },
  reporter: (does) => {
    const reporter = calmReporter(safeReporter(portThat<ErrorReporter>(does)));
    for (const error of [new Error('x'), undefined, Object.create(null)]) {
      reporter.report(error, { action: 'test', fact: Object.create(null) });
      reporter.report(error, { action: 'test', severity: 'warning' });
      reporter.note?.('test', { fact: Object.create(null) });
    }
  },
};

const unhandled: unknown[] = [];
const heard = (error: unknown) => unhandled.push(error);
beforeEach(() => {
  unhandled.length = 0;
  process.on('unhandledRejection', heard);
  jest.spyOn(console, 'error').mockImplementation(() => undefined);
});
afterEach(() => {
  process.off('unhandledRejection', heard);
  jest.restoreAllMocks();
});

describe.each(Object.entries(uses))('a %s', (_port, use) => {
  it.each(ways)('that %s breaks nothing', async (_way, does) => {
    const told: unknown[] = [];
    await use(does, { report: (error) => told.push(error) });
    // Node tells of a rejection that nobody handled once the microtasks are done.
    await new Promise((resolve) => setImmediate(resolve));
    expect(unhandled).toEqual([]);
  });
});

it('what a port fails with is told, later failures too', async () => {
  const told: string[] = [];
  const report: ErrorReporter['report'] = (error, { action }) => told.push(`${action} ${error}`);
  safeTracer(portThat<Tracer>(broken), { report }).event('turn.adopted');
  safeTracer(
    portThat<Tracer>(async () => broken()),
    { report },
  ).event('turn.adopted');
  await new Promise((resolve) => setImmediate(resolve));
  expect(told).toEqual(['tracer Error: broken', 'tracer Error: broken']);
});
