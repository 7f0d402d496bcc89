import {
  context,
  type Attributes as OtelAttributes,
  propagation,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';
import { messageOf, TurnsError } from '../errors.ts';
import type { Attributes, SpanHandle, SpanOptions, TraceCarrier, Tracer } from '../instrumentation/tracer.ts';

const kinds = {
  internal: SpanKind.INTERNAL,
  producer: SpanKind.PRODUCER,
  consumer: SpanKind.CONSUMER,
  client: SpanKind.CLIENT,
} as const;

const maxValueLength = 300;

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
      quietly(() => trace.getActiveSpan()?.addEvent(event, clean(attributes)));
    },
    carrier() {
      const carrier: TraceCarrier = {};
      quietly(() => propagation.inject(context.active(), carrier));
      return carrier;
    },
    traceId() {
      return quietly(() => trace.getActiveSpan()?.spanContext().traceId);
    },
  };
}

function start(tracer: string, spanName: string, options: SpanOptions): Span {
  const { kind = 'internal', attributes } = options;
  const settings = { kind: kinds[kind], attributes: clean(attributes) };
  return trace.getTracer(tracer).startSpan(spanName, settings, parentOf(options));
}

function parentOf({ parent }: SpanOptions) {
  if (!parent?.traceparent) return context.active();
  return quietly(() => propagation.extract(ROOT_CONTEXT, parent)) ?? context.active();
}

const handleOf = (span: Span): SpanHandle => ({
  set: (attributes) => quietly(() => span.setAttributes(clean(attributes))),
  event: (event, attributes) => quietly(() => span.addEvent(event, clean(attributes))),
});

/** What somebody asked for is no failure: a cancelled turn does not paint its spans red. */
function record(span: Span, error: unknown): void {
  if (error instanceof TurnsError) span.setAttribute('error.type', error.code);
  if (error instanceof TurnsError && error.disposition === 'cancelled') return;
  span.recordException(error instanceof Error ? error : String(error));
  span.setStatus({ code: SpanStatusCode.ERROR, message: messageOf(error).slice(0, maxValueLength) });
}

function clean(attributes: Attributes = {}): OtelAttributes {
  const entries = Object.entries(attributes).filter(([, value]) => value !== undefined);
  return Object.fromEntries(
    entries.map(([key, value]) => [key, typeof value === 'string' ? value.slice(0, maxValueLength) : value]),
  );
}

function quietly<T>(fn: () => T): T | undefined {
  try {
    return fn();
  } catch {
    return undefined;
  }
}
