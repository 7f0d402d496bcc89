import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-http';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { IORedisInstrumentation } from '@opentelemetry/instrumentation-ioredis';
import { MongoDBInstrumentation } from '@opentelemetry/instrumentation-mongodb';
import { UndiciInstrumentation } from '@opentelemetry/instrumentation-undici';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { NodeSDK } from '@opentelemetry/sdk-node';
import { BatchSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { ATTR_SERVICE_NAME } from '@opentelemetry/semantic-conventions';

/** Spans leave soon, so that a process that is about to end has little left to send. */
const exportDelayMs = 500;
const shutdownMs = 3_000;

/**
 * Starts the OpenTelemetry SDK of a process; answers the function that flushes and ends it, within three seconds.
 * The exporters read the usual OTEL_EXPORTER_OTLP_* variables.
 */
export function startTelemetry(serviceName: string): () => Promise<void> {
  const sdk = new NodeSDK({
    resource: resourceFromAttributes({ [ATTR_SERVICE_NAME]: process.env.OTEL_SERVICE_NAME ?? serviceName }),
    spanProcessors: [
      new BatchSpanProcessor(new OTLPTraceExporter(), { scheduledDelayMillis: exportDelayMs }),
    ],
    metricReaders: [new PeriodicExportingMetricReader({ exporter: new OTLPMetricExporter() })],
    logRecordProcessors: [],
    instrumentations: [
      // BullMQ polls: without a parent there would be a span for each poll.
      new IORedisInstrumentation({ requireParentSpan: true }),
      new MongoDBInstrumentation(),
      new UndiciInstrumentation({ requireParentforSpans: true }),
    ],
  });
  sdk.start();
  return async () => {
    const limit = new Promise<void>((resolve) => setTimeout(resolve, shutdownMs).unref());
    await Promise.race([sdk.shutdown().catch(() => undefined), limit]);
  };
}
