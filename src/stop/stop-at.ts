import type { StopOptions, StoppedRun, StopResult, Upstream } from '../ports/upstream.ts';

/** Stops a run on a server that may not be configured here (any more): then nobody can see it end. Never throws. */
export async function stopAt(
  upstreamOf: () => Upstream,
  run: StoppedRun,
  options: StopOptions,
  signal?: AbortSignal,
): Promise<StopResult> {
  let upstream: Upstream;
  try {
    upstream = upstreamOf();
  } catch (problem) {
    return { messages: null, confirmed: false, idle: false, problem };
  }
  return upstream.stop(run, options, signal);
}
