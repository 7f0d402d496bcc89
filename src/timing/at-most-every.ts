import { type Clock, systemClock } from './clock.ts';

/** Asks at most once in `ms`, and one at a time: whoever asks sooner gets what was returned last, or is being. */
export function atMostEvery<T>(
  ms: number,
  ask: () => Promise<T>,
  clock: Clock = systemClock,
): () => Promise<T> {
  let last: Promise<T> | undefined;
  let at = 0;
  let asking = false;
  return () => {
    const now = clock.monotonicMs();
    if (last && (asking || now - at < ms)) return last;
    at = now;
    asking = true;
    last = ask().finally(() => {
      asking = false;
    });
    return last;
  };
}
