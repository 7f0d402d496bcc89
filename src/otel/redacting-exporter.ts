import { SpanStatusCode } from '@opentelemetry/api';
import type { ReadableSpan, SpanExporter } from '@opentelemetry/sdk-trace-base';
import { allowedAttributes } from '../instrumentation/attributes.ts';
import { events } from '../instrumentation/events.ts';

const maxNameLength = 100;

/**
 * The last line before spans leave: whatever recorded them, only the attributes of `instrumentation/attributes.ts` go
 * on, of events only ours and the types of exceptions, and of a status no more than that it is one.
 */
export function redactingExporter(inner: SpanExporter): SpanExporter {
  return {
    export: (spans, done) => inner.export(spans.map(redacted), done),
    shutdown: () => inner.shutdown(),
    forceFlush: async () => inner.forceFlush?.(),
  };
}

/**
 * Redis does not know a script by its hash any more (its scripts were flushed, or another Redis took over): it is asked
 * again with the text. That is how a script is called, and no failure, although the client's library meets it as one.
 */
const asksForScript = ({ status }: ReadableSpan): boolean => /^NOSCRIPT /.test(status.message ?? '');

/** Field by field, so that what a later SDK adds stays here until somebody has looked at it. Pure. */
export function redacted(span: ReadableSpan): ReadableSpan {
  const fine = asksForScript(span);
  return {
    name: nameOf(span.name),
    kind: span.kind,
    spanContext: () => span.spanContext(),
    ...(span.parentSpanContext ? { parentSpanContext: span.parentSpanContext } : {}),
    startTime: span.startTime,
    endTime: span.endTime,
    status: { code: fine ? SpanStatusCode.UNSET : span.status.code },
    attributes: allowedAttributes(span.attributes),
    links: span.links.map(({ context, attributes }) => ({
      context,
      attributes: allowedAttributes(attributes),
    })),
    events: span.events
      .filter(({ name }) => (name === 'exception' && !fine) || Object.hasOwn(events, name))
      .map(({ name, time, attributes }) => ({ name, time, attributes: allowedAttributes(attributes) })),
    duration: span.duration,
    ended: span.ended,
    resource: span.resource,
    instrumentationScope: span.instrumentationScope,
    droppedAttributesCount: span.droppedAttributesCount,
    droppedEventsCount: span.droppedEventsCount,
    droppedLinksCount: span.droppedLinksCount,
  };
}

/** Older instrumentations of HTTP name a span by its target. */
const nameOf = (name: string): string => (name.split(/[?#]/, 1)[0] ?? '').slice(0, maxNameLength);
