import { type Attributes, metrics as api, type Counter, type Histogram } from '@opentelemetry/api';
import type { Meter } from '../instrumentation/meter.ts';
import { type MetricName, metrics } from '../instrumentation/metrics.ts';
import { sharedGauges } from './shared-gauges.ts';

/** What was made of one provider: the API's own does nothing, and goes on doing nothing once there is an SDK. */
interface Made {
  readonly provider: unknown;
  readonly counters: Map<MetricName, Counter>;
  readonly histograms: Map<MetricName, Histogram>;
}

/**
 * Meter on the OpenTelemetry API: silent until the process has an SDK, also one that is started later. Instruments are
 * made when they are used first. What several of them observe under one name is told together: see `sharedGauges`.
 */
export function otelMeter(name = 'opencode-turns'): Meter {
  const gauges = sharedGauges(name);
  let made = newMade();
  const current = (): Made => {
    const provider = api.getMeterProvider();
    if (made.provider !== provider) made = newMade();
    gauges.follow(provider);
    return made;
  };
  const settings = (metric: MetricName) => {
    const { description, unit, ...row } = metrics[metric];
    const advice = 'buckets' in row ? { advice: { explicitBucketBoundaries: [...row.buckets] } } : {};
    return { description, unit, ...advice };
  };
  return {
    add(metric, value, attributes) {
      const make = () => api.getMeter(name).createCounter(metric, settings(metric));
      kept(current().counters, metric, make).add(value, attributes as Attributes);
    },
    measure(metric, value, attributes) {
      const make = () => api.getMeter(name).createHistogram(metric, settings(metric));
      kept(current().histograms, metric, make).record(value, attributes as Attributes);
    },
    observe(metric, read) {
      current();
      return gauges.add(metric, read);
    },
  };
}

/** The instrument of that name, made when it is asked for first. */
function kept<T>(instruments: Map<MetricName, T>, metric: MetricName, make: () => T): T {
  const known = instruments.get(metric) ?? make();
  instruments.set(metric, known);
  return known;
}

const newMade = (): Made => ({
  provider: api.getMeterProvider(),
  counters: new Map(),
  histograms: new Map(),
});
