import type { Clock } from '../timing/clock.ts';

export interface ManualClock extends Clock {
  /** Timers that have neither fired nor been cancelled. */
  readonly waiting: number;
  /**
   * Moves both clocks by `ms`, and fires what is due on the way, each at its own time. What is under way is let happen before,
   * in between and after, files that are read included; not what comes over a network.
   */
  advance(ms: number): Promise<void>;
  /** The same at once: nothing happens in between but what timers do before they return. */
  jump(ms: number): void;
}

/** Rounds of the event loop that promises get to settle in: a turn in memory needs some after each timer. */
const quietRounds = 20;
const maxRounds = 10_000;

/** A clock that stands still until a test moves it. `now` is where it begins, Unix ms; by default the first of January 2026. */
export function manualClock({
  now: start = Date.UTC(2026, 0, 1),
}: {
  readonly now?: number;
} = {}): ManualClock {
  const timers = new Set<{ readonly at: number; readonly fire: () => void }>();
  let now = start;
  const fireNext = (end: number): boolean => {
    const [next] = [...timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at);
    if (!next) return false;
    timers.delete(next);
    now = Math.max(now, next.at);
    next.fire();
    return true;
  };
  return {
    now: () => now,
    monotonicMs: () => now - start,
    setTimer(ms, fire) {
      const timer = { at: now + Math.max(0, ms), fire };
      timers.add(timer);
      return () => void timers.delete(timer);
    },
    get waiting() {
      return timers.size;
    },
    async advance(ms) {
      const end = now + ms;
      do await settled();
      while (fireNext(end));
      now = Math.max(now, end);
    },
    jump(ms) {
      const end = now + ms;
      while (fireNext(end));
      now = Math.max(now, end);
    },
  };
}

/** Until the event loop has gone round so often, and no file was under way meanwhile. */
async function settled(): Promise<void> {
  for (let quiet = 0, round = 0; quiet < quietRounds && round < maxRounds; round += 1) {
    await new Promise((resolve) => setImmediate(resolve));
    quiet = process.getActiveResourcesInfo().some((name) => name.startsWith('FSReq')) ? 0 : quiet + 1;
  }
}

/** The longest wait that is none: followers get entries at a rate, and a first retry comes soon. */
const shortMs = 100;

/**
 * The same clock, but short waits are over by themselves: a turn goes on where it waits for nothing but its own pace. What a policy
 * limits, and what is waited for when a server is away, takes longer.
 */
export const withoutShortWaits = (clock: Clock): Clock => ({
  now: () => clock.now(),
  monotonicMs: () => clock.monotonicMs(),
  setTimer(ms, fire, options) {
    if (ms > shortMs) return clock.setTimer(ms, fire, options);
    const immediate = setImmediate(fire);
    return () => clearImmediate(immediate);
  },
});
