import { afterAll, beforeAll, beforeEach, expect, it } from '@jest/globals';
import { context, propagation, ROOT_CONTEXT, SpanStatusCode, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';
import { BadRequestError, InvalidInputError, TurnAbortError } from '../../src/errors.ts';
import { redactingExporter } from '../../src/otel/redacting-exporter.ts';
import { otelTracer } from '../../src/otel/tracer.ts';

const secret = 'the words of a user';
/** As the host's own processors get them, and as they leave. */
const recorded = new InMemorySpanExporter();
const left = new InMemorySpanExporter();
const provider = new BasicTracerProvider({
  spanProcessors: [new SimpleSpanProcessor(recorded), new SimpleSpanProcessor(redactingExporter(left))],
});
beforeAll(() => {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  trace.setGlobalTracerProvider(provider);
  // A host's propagator that sends all it knows, and nothing of W3C.
  propagation.setGlobalPropagator({
    inject: (_context, carrier, setter) => {
      setter.set(carrier, 'b3', '0');
      setter.set(carrier, 'baggage', `user=${secret}`);
    },
    extract: (one) => one,
    fields: () => ['b3', 'baggage'],
  });
});
beforeEach(() => {
  recorded.reset();
  left.reset();
});
afterAll(async () => {
  await provider.shutdown();
  for (const api of [context, trace, propagation]) api.disable();
});

const tracer = otelTracer();
const only = (exporter: InMemorySpanExporter) => exporter.getFinishedSpans()[0] as ReadableSpan;
const everything = () =>
  [recorded, left].flatMap((exporter) =>
    exporter
      .getFinishedSpans()
      .map(({ name, attributes, events, status, links }) =>
        JSON.stringify({ name, attributes, events, status, links }),
      ),
  );

it('carries W3C trace context and nothing else, whatever propagator is set, and continues from it', async () => {
  const carrier = await tracer.span('turn.enqueue', {}, async () => tracer.carrier());
  expect(Object.keys(carrier)).toEqual(['traceparent']);
  await tracer.span('turn.process', { parent: carrier }, async () => undefined);
  const [first, second] = left.getFinishedSpans();
  expect(second?.spanContext().traceId).toBe(first?.spanContext().traceId);
  expect(second?.parentSpanContext?.spanId).toBe(first?.spanContext().spanId);
});

it('carries tracestate along when there is one', async () => {
  const given = {
    traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    tracestate: 'rojo=00f067aa0ba902b7',
  };
  const carrier = await tracer.span('turn.process', { parent: given }, async () => tracer.carrier());
  expect(carrier.tracestate).toBe(given.tracestate);
  expect(carrier.traceparent).toContain('0af7651916cd43dd8448eb211c80319c');
});

it('a stored context that is none begins a trace where it stands', async () => {
  for (const traceparent of ['', 'x', '00-0-0-0', '\u0000'.repeat(600), 5 as never])
    await tracer.span('turn.process', { parent: { traceparent } }, async () => undefined);
  expect(left.getFinishedSpans()).toHaveLength(5);
});

class HostError extends Error {}
it.each<[string, unknown, string, string]>([
  ['one of ours', new InvalidInputError('text', secret), 'InvalidInputError', 'invalid_input'],
  [
    'what upstream said',
    new BadRequestError(secret, { method: 'GET', path: '/x', body: secret }),
    'BadRequestError',
    'upstream_bad_request',
  ],
  ["a host's", Object.assign(new HostError(secret), { code: 'E_HOST' }), 'HostError', 'E_HOST'],
  ['one that is named by its words', Object.assign(new Error(secret), { name: secret }), 'Error', 'Error'],
  ['no error at all', secret, 'string', 'Error'],
  ['nothing', null, 'object', 'Error'],
])('a failure is told by class and code, never by words: %s', async (_name, error, type, code) => {
  await expect(tracer.span('turn.process', {}, () => Promise.reject(error))).rejects.toBe(error);
  const { events, status, attributes } = only(left);
  expect(events.map((event) => [event.name, event.attributes])).toEqual([
    ['exception', { 'exception.type': type, 'error.type': code }],
  ]);
  expect(status).toEqual({ code: SpanStatusCode.ERROR });
  expect(attributes).toEqual({ 'error.type': code });
  expect(everything().join('\n')).not.toContain(secret);
});

it('what somebody asked for is no failure', async () => {
  await tracer.span('turn.process', {}, () => Promise.reject(new TurnAbortError('shutdown'))).catch(() => 0);
  expect(only(left)).toMatchObject({ events: [], status: { code: SpanStatusCode.UNSET } });
});

it('attributes that have no row in the table do not leave, whoever recorded them', async () => {
  const link = { context: { traceId: '1'.repeat(32), spanId: '2'.repeat(16), traceFlags: 1 } };
  const span = provider.getTracer('host').startSpan(
    `GET /x?token=${secret}`,
    {
      attributes: {
        'db.query.text': `evalsha abc ${secret}`,
        'db.statement': `{"insert":"${secret}"}`,
        'url.full': `https://user:${secret}@host:8443/bot${secret}?q=${secret}#${secret}`,
        'url.query': secret,
        'url.path': `/${secret}`,
        'error.type': secret,
        'error.message': secret,
        'http.request.header.x-key': [secret],
        'server.port': 6379,
        'http.status_code': 500,
        [secret]: 1,
      },
      links: [{ ...link, attributes: { note: secret } }],
    },
    ROOT_CONTEXT,
  );
  span.recordException(new Error(secret));
  span.addEvent(secret);
  span.addEvent('turn.delayed', { 'turn.blocker': 'x', why: secret });
  span.setStatus({ code: SpanStatusCode.ERROR, message: secret });
  span.end();
  const { name, attributes, events, status, links } = only(left);
  expect(attributes).toEqual({
    'db.query.text': 'evalsha',
    'url.full': 'https://host:8443',
    'server.port': 6379,
    'http.status_code': 500,
  });
  expect(events.map((event) => [event.name, event.attributes])).toEqual([
    ['exception', { 'exception.type': 'Error' }],
    ['turn.delayed', { 'turn.blocker': 'x' }],
  ]);
  expect({ name, status, links }).toEqual({
    name: 'GET /x',
    status: { code: SpanStatusCode.ERROR },
    links: [{ ...link, attributes: {} }],
  });
});
