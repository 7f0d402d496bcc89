import { type BackoffOptions, backoffMs } from './backoff.ts';
import { type Clock, delay, systemClock } from './clock.ts';

export interface PersevereOptions extends BackoffOptions {
  /** Returns whether the same call may be made again after this error. */
  readonly again: (error: unknown) => boolean;
  /** The least wait before the same call after this error, whatever the backoff says. */
  readonly atLeastMs?: (error: unknown) => number;
  readonly clock?: Clock;
  /** Told before each wait. */
  readonly onRetry?: (error: unknown, attempt: number, waitMs: number) => void;
}

/**
 * Calls `fn` until it succeeds, fails with an error that `again` refuses, or `signal` aborts. When the signal
 * ends the waiting, the last error is thrown and not the abort: it says which service was away.
 */
export async function persevere<T>(
  fn: () => Promise<T>,
  options: PersevereOptions,
  signal: AbortSignal,
): Promise<T> {
  for (let attempt = 0; ; attempt += 1) {
    signal.throwIfAborted();
    try {
      return await fn();
    } catch (error) {
      if (signal.aborted || !options.again(error)) throw error;
      const waitMs = Math.max(backoffMs(attempt, options), options.atLeastMs?.(error) ?? 0);
      options.onRetry?.(error, attempt, waitMs);
      try {
        await delay(waitMs, options.clock ?? systemClock, signal);
      } catch {
        throw error;
      }
    }
  }
}
