import type { Clock } from '../../src/timing/clock.ts';

export interface ManualClock extends Clock {
  /** Timers that have neither fired nor been cancelled. */
  readonly waiting: number;
  /** Moves both clocks, and fires what is due on the way, each at its own time. */
  advance(ms: number): void;
}

/** A clock that stands still until a test moves it. */
export function manualClock(): ManualClock {
  const timers = new Set<{ readonly at: number; readonly fire: () => void }>();
  let now = 0;
  return {
    now: () => now,
    monotonicMs: () => now,
    setTimer(ms, fire) {
      const timer = { at: now + Math.max(0, ms), fire };
      timers.add(timer);
      return () => void timers.delete(timer);
    },
    get waiting() {
      return timers.size;
    },
    advance(ms) {
      const end = now + ms;
      for (;;) {
        const [next] = [...timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at);
        if (!next) break;
        timers.delete(next);
        now = next.at;
        next.fire();
      }
      now = end;
    },
  };
}
