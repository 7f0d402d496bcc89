import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-http';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { IORedisInstrumentation } from '@opentelemetry/instrumentation-ioredis';
import { MongoDBInstrumentation } from '@opentelemetry/instrumentation-mongodb';
import { UndiciInstrumentation } from '@opentelemetry/instrumentation-undici';
import { envDetector, hostDetector, resourceFromAttributes } from '@opentelemetry/resources';
import {
  createAllowListAttributesProcessor,
  PeriodicExportingMetricReader,
  type PeriodicExportingMetricReaderOptions,
} from '@opentelemetry/sdk-metrics';
import { NodeSDK } from '@opentelemetry/sdk-node';
import { BatchSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { ATTR_SERVICE_NAME } from '@opentelemetry/semantic-conventions';
import { attributeNames } from '../instrumentation/attributes.ts';
import { redactingExporter } from './redacting-exporter.ts';
import type { Signals } from './signals.ts';

/** Spans leave soon, so that a process that is about to end has little left to send. */
const exportDelayMs = 500;
const shutdownMs = 3_000;

/**
 * Starts the OpenTelemetry SDK of a process; returns the function that flushes and ends it, within three seconds.
 * The exporters read the usual OTEL_EXPORTER_OTLP_* variables. Spans and metrics leave with the attributes of
 * `instrumentation/attributes.ts` only, and only W3C trace context goes along with a request, whatever OTEL_PROPAGATORS
 * says.
 */
export function startTelemetry(serviceName: string, signals: Signals): () => Promise<void> {
  const sdk = new NodeSDK({
    resource: resourceFromAttributes({
      [ATTR_SERVICE_NAME]: process.env.OTEL_SERVICE_NAME ?? serviceName,
      'process.pid': process.pid,
      'process.runtime.version': process.versions.node,
    }),
    // Without that of the process: it tells the command line, with its paths and whatever was given there.
    resourceDetectors: [envDetector, hostDetector],
    textMapPropagator: new W3CTraceContextPropagator(),
    spanProcessors: signals.traces
      ? [
          new BatchSpanProcessor(redactingExporter(new OTLPTraceExporter()), {
            scheduledDelayMillis: exportDelayMs,
          }),
        ]
      : [],
    metricReaders: signals.metrics
      ? [
          new PeriodicExportingMetricReader({
            exporter: new OTLPMetricExporter(),
            ...exportInterval(process.env),
          }),
        ]
      : [],
    views: [
      {
        instrumentName: '*',
        attributesProcessors: [createAllowListAttributesProcessor([...attributeNames])],
      },
    ],
    logRecordProcessors: [],
    instrumentations: instrumentations(),
  });
  sdk.start();
  return async () => {
    const limit = new Promise<void>((resolve) => setTimeout(resolve, shutdownMs).unref());
    await Promise.race([sdk.shutdown().catch(() => undefined), limit]);
  };
}

/** As the variable says, if it says a time: at least as long as the time of one export, which is cut to it. */
function exportInterval({
  OTEL_METRIC_EXPORT_INTERVAL: ms = '',
}: NodeJS.ProcessEnv): Pick<PeriodicExportingMetricReaderOptions, 'exportIntervalMillis'> {
  return /^[1-9]\d{0,8}$/.test(ms) ? { exportIntervalMillis: Number(ms) } : {};
}

/** Told not to record what the exporter would drop: nothing else in the process then sees it either. */
const instrumentations = () => [
  // BullMQ polls: without a parent there would be a span for each poll. Arguments of scripts are entries of turns.
  new IORedisInstrumentation({ requireParentSpan: true, dbStatementSerializer: (command) => command }),
  new MongoDBInstrumentation({
    enhancedDatabaseReporting: false,
    dbStatementSerializer: (command) => Object.keys(command)[0] ?? '',
  }),
  new UndiciInstrumentation({
    requireParentforSpans: true,
    startSpanHook: ({ origin }) => ({ 'url.full': origin, 'url.path': undefined, 'url.query': undefined }),
  }),
];
