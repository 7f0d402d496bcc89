import { expect, it } from '@jest/globals';
import { onlyTraceContext, safeTracer } from '../../src/instrumentation/safe-tracer.ts';
import { noopTracer, type SpanHandle, type Tracer } from '../../src/instrumentation/tracer.ts';

const fails = (): never => {
  throw new Error('the tracer is broken');
};
const brokenSpan: SpanHandle = { set: fails, event: fails };

/** Each breaks its word in another way. */
const broken: readonly [string, Partial<Tracer>][] = [
  ['throws at once', { span: fails }],
  ['rejects', { span: () => Promise.reject(new Error('no')) }],
  ['never begins', { span: () => new Promise(() => undefined) }],
  ['answers nothing', { span: () => undefined as never }],
  [
    'begins twice',
    {
      span: async (_name, _options, fn) => {
        await fn(brokenSpan);
        return fn(brokenSpan);
      },
    },
  ],
  [
    'begins too late',
    {
      span: async (_name, _options, fn) => {
        await null;
        return fn(brokenSpan);
      },
    },
  ],
  [
    'swallows the failure and never ends',
    {
      span: async (_name, _options, fn) => {
        await fn(brokenSpan).catch(() => undefined);
        return new Promise(() => undefined);
      },
    },
  ],
  [
    'throws when the work is done',
    {
      span: async (_name, _options, fn) => {
        await fn(brokenSpan);
        return fails();
      },
    },
  ],
];

it.each(broken)('a tracer that %s: the work is done once, and ends as it ends', async (_name, part) => {
  const told: unknown[] = [];
  const tracer = safeTracer({ ...noopTracer, ...part }, { report: (error) => told.push(error) });
  let runs = 0;
  const work = (end: () => number) => async (span: SpanHandle) => {
    span.set({ 'turn.id': 'x' });
    span.event('turn.adopted');
    runs += 1;
    return end();
  };
  expect(
    await tracer.span(
      'turn.process',
      {},
      work(() => 7),
    ),
  ).toBe(7);
  const failure = new Error('of the work');
  const failing = tracer.span(
    'turn.process',
    {},
    work(() => {
      throw failure;
    }),
  );
  await expect(failing).rejects.toBe(failure);
  expect(runs).toBe(2);
});

it('nothing else that a tracer does breaks anything, and it is told', () => {
  const told: unknown[] = [];
  const tracer = safeTracer(
    { span: fails, event: fails, carrier: fails, traceId: fails },
    { report: (_error, { action }) => told.push(action) },
  );
  tracer.event('turn.adopted');
  expect(tracer.carrier()).toEqual({});
  expect(tracer.traceId()).toBeUndefined();
  expect(told).toEqual(['tracer', 'tracer', 'tracer']);
});

it.each<[unknown, object]>([
  [undefined, {}],
  ['x', {}],
  [{ baggage: 'user=1', b3: '0' }, {}],
  [{ traceparent: 5 }, {}],
  [{ traceparent: 'a'.repeat(513) }, {}],
  [{ tracestate: 'a=b' }, {}],
  [{ traceparent: 'a', tracestate: { $ne: 1 }, baggage: 'x' }, { traceparent: 'a' }],
  [
    { traceparent: 'a', tracestate: 'b' },
    { traceparent: 'a', tracestate: 'b' },
  ],
])('of a carrier %j remains %j', (given, kept) => {
  expect(onlyTraceContext(given)).toEqual(kept);
});
