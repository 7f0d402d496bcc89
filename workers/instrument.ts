/**
 * OpenTelemetry preload: `node --import ./dist/workers/instrument.js …`. Does nothing without an OTLP endpoint,
 * and loads nothing of the SDK then.
 */
import '../src/config/node-version.ts';
import { signalsFromEnv } from '../src/otel/signals.ts';

const signals = signalsFromEnv(process.env);
if (signals.traces || signals.metrics) {
  // Before anything else is loaded: modules that are imported by name can only be instrumented by this hook.
  const { register } = await import('node:module');
  register('@opentelemetry/instrumentation/hook.mjs', import.meta.url);
  const { startTelemetry } = await import('../src/otel/sdk.ts');
  const stop = startTelemetry('opencode-turns', signals);
  // `beforeExit` is the last moment at which something can still be sent; the workers leave by emptying their loop.
  process.once('beforeExit', () => void stop());
}
