import { type Attributes, metrics as api, type Counter, type Histogram } from '@opentelemetry/api';
import type { Meter, Observation } from '../instrumentation/meter.ts';
import { type GaugeName, type MetricName, metrics } from '../instrumentation/metrics.ts';

/** What was made of one provider: the API's own does nothing, and goes on doing nothing once there is an SDK. */
interface Made {
  readonly provider: unknown;
  readonly counters: Map<MetricName, Counter>;
  readonly histograms: Map<MetricName, Histogram>;
}

interface Gauge {
  readonly name: GaugeName;
  readonly read: () => Promise<readonly Observation[]>;
  end: () => void;
}

/**
 * Meter on the OpenTelemetry API: silent until the process has an SDK, also one that is started later. Instruments are
 * made when they are used first.
 */
export function otelMeter(name = 'opencode-turns'): Meter {
  const gauges = new Set<Gauge>();
  let made = newMade();
  const current = (): Made => {
    if (made.provider === api.getMeterProvider()) return made;
    made = newMade();
    for (const gauge of gauges) register(gauge, name);
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
      const gauge: Gauge = { name: metric, read, end: () => undefined };
      gauges.add(gauge);
      register(gauge, name);
      return () => {
        gauges.delete(gauge);
        gauge.end();
      };
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

function register(gauge: Gauge, meter: string): void {
  const { description, unit } = metrics[gauge.name];
  const instrument = api.getMeter(meter).createObservableGauge(gauge.name, { description, unit });
  const observe: Parameters<typeof instrument.addCallback>[0] = async (result) => {
    for (const { value, attributes } of await gauge.read()) result.observe(value, attributes as Attributes);
  };
  instrument.addCallback(observe);
  gauge.end = () => instrument.removeCallback(observe);
}
