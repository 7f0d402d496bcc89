/**
 * Spans and metrics by OpenTelemetry: `opencode-turns/otel`. Needs `@opentelemetry/api` and `@opentelemetry/core`; `connect` uses it by
 * itself where they are installed.
 *
 * @module opencode-turns/otel
 */
export { otelMeter } from './meter.ts';
export { otelTracer } from './tracer.ts';
