import { type Attributes, metrics as api } from '@opentelemetry/api';
import type { Observation } from '../instrumentation/meter.ts';
import { type GaugeName, metrics } from '../instrumentation/metrics.ts';

type Read = () => Promise<readonly Observation[]>;

const byMeter = new Map<string, SharedGauges>();

/** The gauges of one meter's name in this process, over all who observe there. */
export function sharedGauges(meter: string): SharedGauges {
  const known = byMeter.get(meter) ?? new SharedGauges(meter);
  byMeter.set(meter, known);
  return known;
}

/**
 * One callback for each gauge, over all its observers: an SDK keeps one value for each set of attributes, so that of two
 * `connect` in one process the later would hide the other's. What an observer tells of its own share is added up; of a
 * gauge that each tells in whole (`told: 'whole'` in its row) the last one's value counts.
 */
class SharedGauges {
  readonly #meter: string;
  readonly #reads = new Map<GaugeName, Set<Read>>();
  readonly #ends = new Map<GaugeName, () => void>();
  #provider: unknown;

  constructor(meter: string) {
    this.#meter = meter;
  }

  /** An SDK that was started late knows no callback that was given to the API before. */
  follow(provider: unknown): void {
    if (this.#provider === provider) return;
    this.#provider = provider;
    for (const name of this.#reads.keys()) this.#register(name);
  }

  /** Observed until the returned function is called. */
  add(name: GaugeName, read: Read): () => void {
    const reads = this.#reads.get(name) ?? new Set();
    // An own entry for each call, also for the same function.
    const entry: Read = () => read();
    reads.add(entry);
    this.#reads.set(name, reads);
    if (reads.size === 1) this.#register(name);
    return () => {
      reads.delete(entry);
      if (reads.size > 0) return;
      this.#reads.delete(name);
      this.#ends.get(name)?.();
      this.#ends.delete(name);
    };
  }

  #register(name: GaugeName): void {
    this.#ends.get(name)?.();
    const { description, unit } = metrics[name];
    const gauge = api.getMeter(this.#meter).createObservableGauge(name, { description, unit });
    const observe: Parameters<typeof gauge.addCallback>[0] = async (result) => {
      const told = await Promise.all([...(this.#reads.get(name) ?? [])].map((read) => read()));
      for (const { value, attributes } of together(name, told.flat()))
        result.observe(value, attributes as Attributes);
    };
    gauge.addCallback(observe);
    this.#ends.set(name, () => gauge.removeCallback(observe));
  }
}

function together(name: GaugeName, told: readonly Observation[]): readonly Observation[] {
  const isWhole = 'told' in metrics[name];
  const values = new Map<string, Observation>();
  for (const one of told) {
    const key = JSON.stringify(Object.entries(one.attributes ?? {}).sort());
    const value = isWhole ? one.value : one.value + (values.get(key)?.value ?? 0);
    values.set(key, { ...one, value });
  }
  return [...values.values()];
}
