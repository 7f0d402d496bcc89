import type { ErrorReporter } from './error-reporter.ts';
import type { Meter, Observation } from './meter.ts';
import { type GaugeName, type MetricAttributes, type MetricName, metrics } from './metrics.ts';
import { shown } from './printable.ts';
import { safeCall } from './safe-call.ts';

/** Values of one attribute that are told apart in a process; each further one is `otherValue`. */
const maxValues = 100;
const maxLength = 100;
/** As OpenTelemetry's conventions call what is none of the known ones. */
export const otherValue = '_OTHER';

/**
 * A host's meter that can break nothing: what it fails with is reported. It is given the attributes of the metric's row
 * only, and of each a bounded number of values; what is no figure is not told.
 */
export function safeMeter(meter: Meter, reporter: ErrorReporter): Meter {
  const attempt = <T>(call: () => T): T | undefined =>
    safeCall(call, (error) => reporter.report(error, { action: 'meter', severity: 'warning' }));
  const bound = boundedAttributes();
  const readSafely = async <N extends GaugeName>(
    name: N,
    read: () => Promise<readonly Observation<N>[]>,
  ): Promise<readonly Observation<N>[]> => {
    try {
      const observed = (await read()).filter(({ value }) => Number.isFinite(value));
      return observed.map(({ value, attributes }) => ({ value, attributes: bound(name, attributes) }));
    } catch (error) {
      reporter.report(error, { action: 'meter.read', severity: 'warning', metric: name });
      return [];
    }
  };
  return {
    add(name, value, attributes) {
      if (isFigure(value)) attempt(() => meter.add(name, value, bound(name, attributes)));
    },
    measure(name, value, attributes) {
      if (isFigure(value)) attempt(() => meter.measure(name, value, bound(name, attributes)));
    },
    observe(name, read) {
      const end: unknown = attempt(() => meter.observe(name, () => readSafely(name, read)));
      return () => {
        if (typeof end === 'function') attempt(() => end());
      };
    },
  };
}

const isFigure = (value: number) => Number.isFinite(value) && value >= 0;

/** Attributes of a metric as they may leave: those of its row, cut, and no more than `maxValues` of each. */
function boundedAttributes(): <N extends MetricName>(
  name: N,
  given?: MetricAttributes<N>,
) => MetricAttributes<N> {
  const seen = new Map<string, Set<string>>();
  const known = (attribute: string, value: string): boolean => {
    const values = seen.get(attribute) ?? new Set();
    seen.set(attribute, values);
    if (!values.has(value) && values.size >= maxValues) return false;
    values.add(value);
    return true;
  };
  return <N extends MetricName>(name: N, given: Readonly<Record<string, unknown>> = {}) =>
    Object.fromEntries(
      metrics[name].attributes.flatMap((attribute) => {
        const value = given[attribute];
        if (value === undefined) return [];
        const text = shown(value).slice(0, maxLength);
        if (!known(attribute, text)) return [[attribute, otherValue]];
        return [[attribute, typeof value === 'number' ? value : text]];
      }),
    ) as MetricAttributes<N>;
}
