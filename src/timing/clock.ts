/**
 * The Clock port: timestamps come from `now` (wall clock, Unix ms), durations from `monotonicMs`, which
 * never jumps when somebody sets the time. `setTimer` calls once after `ms` and answers a function that
 * cancels it; timers never keep a process alive by themselves unless `ref` is true.
 */
export interface Clock {
  now(): number;
  monotonicMs(): number;
  setTimer(ms: number, fn: () => void, options?: { ref?: boolean }): () => void;
}

/** setTimeout takes at most 2^31-1 ms; a longer wait fires at once. */
const maxTimerMs = 2_147_483_647;

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  setTimer(ms, fn, options = {}) {
    const timer = setTimeout(fn, Math.min(Math.max(0, ms), maxTimerMs));
    if (options.ref !== true) timer.unref();
    return () => clearTimeout(timer);
  },
};

/** Resolves after `ms` by the given clock; rejects with the signal's reason as soon as it aborts. */
export function delay(ms: number, clock: Clock = systemClock, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const onAbort = () => {
      cancel();
      reject(signal?.reason);
    };
    const cancel = clock.setTimer(
      ms,
      () => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      },
      { ref: true },
    );
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}
