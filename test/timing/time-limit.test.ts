import { expect, it } from '@jest/globals';
import type { Clock } from '../../src/timing/clock.ts';
import { TimeLimit } from '../../src/timing/time-limit.ts';

function fakeClock() {
  const timers = new Set<() => void>();
  const clock: Clock = {
    now: () => 0,
    monotonicMs: () => 0,
    setTimer: (_ms, fn) => {
      timers.add(fn);
      return () => void timers.delete(fn);
    },
  };
  return { clock, timers, pass: () => [...timers].map((fn) => fn()) };
}

it('aborts when the time is over, and says that it was the time', () => {
  const { clock, pass } = fakeClock();
  const limit = new TimeLimit(5, undefined, clock);
  expect([limit.signal.aborted, limit.passed]).toEqual([false, false]);
  pass();
  expect([limit.signal.aborted, limit.passed]).toEqual([true, true]);
  expect(limit.signal.reason).toMatchObject({ name: 'TimeoutError' });
});

it('aborts with the reason of the signal that it was given, before or after, and keeps no timer then', () => {
  for (const early of [true, false]) {
    const { clock, timers } = fakeClock();
    const from = new AbortController();
    if (early) from.abort('why');
    const limit = new TimeLimit(5, from.signal, clock);
    from.abort('why');
    expect(limit.signal.reason).toBe('why');
    expect([limit.passed, timers.size]).toEqual([false, 0]);
  }
});

it('once it has ended holds no timer and hears nothing any more', () => {
  const { clock, timers } = fakeClock();
  const from = new AbortController();
  const limit = new TimeLimit(5, from.signal, clock);
  limit.end();
  expect(timers.size).toBe(0);
  from.abort();
  expect(limit.signal.aborted).toBe(false);
});
