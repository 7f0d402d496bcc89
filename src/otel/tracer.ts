import {
  context,
  defaultTextMapGetter,
  defaultTextMapSetter,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';

import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { isTurnsError, type TurnFailedError } from '../errors.ts';
import { allowedAttributes, errorType } from '../instrumentation/attributes.ts';
import type { SpanHandle, SpanOptions, TraceCarrier, Tracer } from '../instrumentation/tracer.ts';

const kinds = {
  internal: SpanKind.INTERNAL,
  producer: SpanKind.PRODUCER,
  consumer: SpanKind.CONSUMER,
  client: SpanKind.CLIENT,
} as const;

/**
 * What a turn carries along, whichever propagators the process has: those of a web app and of a worker may differ, and
 * `baggage` is no business of a database.
 */
const traceContext = new W3CTraceContextPropagator();

/**
 * Tracer on the OpenTelemetry API: silent until the process has an SDK, so a library user pays nothing without
 * one. What OpenTelemetry throws never reaches the caller; `fn` runs exactly once.
 */
export function otelTracer(name = 'opencode-turns'): Tracer {
  return {
    async span(spanName, options, fn) {
      const span = quietly(() => start(name, spanName, options));
      if (!span) return fn({ set() {}, event() {} });
      return context.with(trace.setSpan(parentOf(options), span), async () => {
        try {
          return await fn(handleOf(span));
        } catch (error) {
          quietly(() => record(span, error));
          throw error;
        } finally {
          quietly(() => span.end());
        }
      });
    },
    event(event, attributes) {
      quietly(() => trace.getActiveSpan()?.addEvent(event, allowedAttributes(attributes)));
    },
    carrier() {
      const carrier: TraceCarrier = {};
      quietly(() => traceContext.inject(context.active(), carrier, defaultTextMapSetter));
      return carrier;
    },
    traceId() {
      return quietly(() => trace.getActiveSpan()?.spanContext().traceId);
    },
  };
}

function start(tracer: string, spanName: string, options: SpanOptions): Span {
  const { kind = 'internal', attributes } = options;
  const settings = { kind: kinds[kind], attributes: allowedAttributes(attributes) };
  return trace.getTracer(tracer).startSpan(spanName, settings, parentOf(options));
}

function parentOf({ parent }: SpanOptions) {
  if (!parent?.traceparent) return context.active();
  const extracted = quietly(() => traceContext.extract(ROOT_CONTEXT, parent, defaultTextMapGetter));
  return extracted && trace.getSpanContext(extracted) ? extracted : context.active();
}

const handleOf = (span: Span): SpanHandle => ({
  set: (attributes) => quietly(() => span.setAttributes(allowedAttributes(attributes))),
  event: (event, attributes) => quietly(() => span.addEvent(event, allowedAttributes(attributes))),
});

/**
 * By class and code, never by message: those of other people's errors hold users' words, paths, addresses. What
 * somebody asked for is no failure: a cancelled turn does not paint its spans red.
 */
function record(span: Span, error: unknown): void {
  const type = isTurnFailed(error) ? error.reason : errorType(error);
  span.setAttribute('error.type', type);
  if (isTurnsError(error) && error.disposition === 'cancelled') return;
  const thrown = error instanceof Error ? error.constructor.name : typeof error;
  span.addEvent('exception', allowedAttributes({ 'exception.type': thrown, 'error.type': type }));
  span.setStatus({ code: SpanStatusCode.ERROR, message: type });
}

const isTurnFailed = (error: unknown): error is TurnFailedError =>
  isTurnsError(error) && error.code === 'turn_failed';

function quietly<T>(fn: () => T): T | undefined {
  try {
    return fn();
  } catch {
    return undefined;
  }
}
