import type { CounterName, GaugeName, HistogramName, MetricAttributes } from './metrics.ts';

/** One value of a gauge. */
export interface Observation<N extends GaugeName = GaugeName> {
  readonly value: number;
  readonly attributes?: MetricAttributes<N>;
}

/**
 * The seam through which figures leave. The core knows no vendor: `otel/` adapts this to OpenTelemetry. Kind, unit and
 * buckets of each name stand in `metrics`. Nothing that a meter does can break a turn: callers go through `safeMeter`.
 */
export interface Meter {
  /** Adds to a counter; `value` is never negative. */
  add<N extends CounterName>(name: N, value: number, attributes?: MetricAttributes<N>): void;
  /** One value of a histogram, in its unit. */
  measure<N extends HistogramName>(name: N, value: number, attributes?: MetricAttributes<N>): void;
  /**
   * From now on `read` is asked for the values of a gauge whenever they are collected, until the returned function is
   * called. It never throws nor rejects; one that nobody can read now returns no value.
   */
  observe<N extends GaugeName>(name: N, read: () => Promise<readonly Observation<N>[]>): () => void;
}

export const noopMeter: Meter = { add() {}, measure() {}, observe: () => () => undefined };
