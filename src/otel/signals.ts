/** What is to leave the process. */
export interface Signals {
  readonly traces: boolean;
  readonly metrics: boolean;
}

/** By the usual variables: an endpoint, for all signals or for one, unless its exporter is `none`. Pure. */
export function signalsFromEnv(env: Readonly<Record<string, string | undefined>>): Signals {
  const wanted = (signal: 'TRACES' | 'METRICS') =>
    Boolean(env.OTEL_EXPORTER_OTLP_ENDPOINT || env[`OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`]) &&
    env[`OTEL_${signal}_EXPORTER`] !== 'none';
  return { traces: wanted('TRACES'), metrics: wanted('METRICS') };
}
