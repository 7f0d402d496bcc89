import type { ErrorReporter } from './error-reporter.ts';
import { safeCall } from './safe-call.ts';
import { type SpanHandle, silentSpan, type TraceCarrier, type Tracer } from './tracer.ts';

/**
 * A host's tracer that can break nothing: what it fails with, at once or later, is reported, the work of a span is done
 * exactly once and its result is the work's own, whatever the tracer does with it. One that does not begin the work before
 * `span` returns goes without its span.
 */
export function safeTracer(tracer: Tracer, reporter: ErrorReporter): Tracer {
  const attempt = <T>(call: () => T): T | undefined =>
    safeCall(call, (error) => reporter.report(error, { action: 'tracer', severity: 'warning' }));
  const handleOf = (span: SpanHandle): SpanHandle => ({
    set: (attributes) => void attempt(() => span.set(attributes)),
    event: (name, attributes) => void attempt(() => span.event(name, attributes)),
  });
  return {
    span<T>(...[name, options, fn]: Parameters<Tracer['span']>): Promise<T> {
      let work: Promise<unknown> | undefined;
      const begin = (span: SpanHandle) => {
        work ??= (async () => fn(handleOf(span)))();
        return work;
      };
      attempt(() => {
        const traced = tracer.span(name, options, begin);
        // It fails as the work does, which the caller hears of, or by itself, which is nobody's business.
        Promise.resolve(traced).catch(() => undefined);
      });
      return (work ?? begin(silentSpan)) as Promise<T>;
    },
    event: (name, attributes) => void attempt(() => tracer.event(name, attributes)),
    carrier: () => attempt(() => onlyTraceContext(attempt(() => tracer.carrier()))) ?? {},
    traceId() {
      const id = attempt(() => tracer.traceId());
      return typeof id === 'string' ? id : undefined;
    },
  };
}

/** The longest `tracestate` that must be carried along (W3C Trace Context, section 3.3.1.5). */
const maxLength = 512;

/** `traceparent` and `tracestate` and nothing else, whatever a propagator, a tracer or a document adds: baggage is anything. */
export function onlyTraceContext(carrier: unknown): TraceCarrier {
  const { traceparent, tracestate } = (carrier ?? {}) as Readonly<Record<string, unknown>>;
  if (!isShort(traceparent)) return {};
  return isShort(tracestate) ? { traceparent, tracestate } : { traceparent };
}

const isShort = (value: unknown): value is string =>
  typeof value === 'string' && value !== '' && value.length <= maxLength;
