/**
 * The seam through which the domain tells what it does. The core knows no vendor: `otel/` adapts this
 * to OpenTelemetry, and the no-op is the default. Nothing that a tracer does can break a turn: callers go
 * through `safeTracer`, which swallows what an adapter throws.
 */
import type { Attributes } from './attributes.ts';
import type { EventName, SpanName } from './events.ts';

export interface SpanHandle {
  /** Adds or replaces attributes of the span. */
  set(attributes: Attributes): void;
  event(name: EventName, attributes?: Attributes): void;
}

/** Trace context as it crosses processes: W3C `traceparent` and `tracestate`. */
export interface TraceCarrier {
  traceparent?: string;
  tracestate?: string;
}

export type SpanKind = 'internal' | 'producer' | 'consumer' | 'client';

export interface SpanOptions {
  readonly kind?: SpanKind;
  readonly attributes?: Attributes;
  /** Continue the trace of another process. */
  readonly parent?: TraceCarrier;
}

export interface Tracer {
  /**
   * Calls `fn`, before it returns, in a span that ends when `fn` settles. An error is recorded by class and code, unless
   * it is an expected cancellation.
   */
  span<T>(name: SpanName, options: SpanOptions, fn: (span: SpanHandle) => Promise<T>): Promise<T>;
  /** An event on the span that is current here; alone when there is none. */
  event(name: EventName, attributes?: Attributes): void;
  /** The current context, to be sent along; empty when nothing is traced. */
  carrier(): TraceCarrier;
  /** Trace id of the current span, or undefined. */
  traceId(): string | undefined;
}

export const silentSpan: SpanHandle = { set() {}, event() {} };

export const noopTracer: Tracer = {
  span: (_name, _options, fn) => fn(silentSpan),
  event() {},
  carrier: () => ({}),
  traceId: () => undefined,
};
