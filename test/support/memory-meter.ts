import type { Meter, Observation } from '../../src/instrumentation/meter.ts';
import { type GaugeName, type MetricName, metrics } from '../../src/instrumentation/metrics.ts';

export interface Measured {
  readonly name: MetricName;
  readonly value: number;
  readonly attributes: Readonly<Record<string, unknown>>;
}

/** A meter that keeps what it is told; it refuses what is not of the kind that the table says. */
export class MemoryMeter implements Meter {
  readonly measured: Measured[] = [];
  readonly #gauges = new Map<GaugeName, () => Promise<readonly Observation[]>>();

  add(name: MetricName, value: number, attributes: object = {}): void {
    this.#keep('counter', name, value, attributes);
  }

  measure(name: MetricName, value: number, attributes: object = {}): void {
    this.#keep('histogram', name, value, attributes);
  }

  observe<N extends GaugeName>(name: N, read: () => Promise<readonly Observation<N>[]>): () => void {
    if (metrics[name].kind !== 'gauge') throw new TypeError(`${name} is no gauge`);
    this.#gauges.set(name, read);
    return () => this.#gauges.delete(name);
  }

  /** What was told of one metric, in order. */
  of(name: MetricName): readonly Measured[] {
    return this.measured.filter((each) => each.name === name);
  }

  /** How often each metric was told, those never told left out. */
  get times(): Readonly<Partial<Record<MetricName, number>>> {
    const times: Partial<Record<MetricName, number>> = {};
    for (const { name } of this.measured) times[name] = (times[name] ?? 0) + 1;
    return times;
  }

  get gauges(): readonly GaugeName[] {
    return [...this.#gauges.keys()];
  }

  async read(name: GaugeName): Promise<readonly Observation[] | undefined> {
    return this.#gauges.get(name)?.();
  }

  #keep(kind: string, name: MetricName, value: number, attributes: object): void {
    if (metrics[name].kind !== kind) throw new TypeError(`${name} is no ${kind}`);
    this.measured.push({ name, value, attributes: { ...attributes } });
  }
}
