export interface BackoffOptions {
  readonly firstMs: number;
  readonly maxMs: number;
  /** Part of the wait that is random, 0 to 1; spreads clients that failed together. */
  readonly jitter?: number;
}

/**
 * The wait before try number `attempt` (0 = the first retry): doubles from `firstMs` up to `maxMs`.
 * With { firstMs: 100, maxMs: 5000 }: 100, 200, 400, 800, 1600, 3200, 5000, 5000 ms.
 */
export function backoffMs(
  attempt: number,
  options: BackoffOptions,
  random: () => number = Math.random,
): number {
  const full = Math.min(options.maxMs, options.firstMs * 2 ** Math.min(attempt, 30));
  const jitter = options.jitter ?? 0;
  return Math.round(full * (1 - jitter * random()));
}
