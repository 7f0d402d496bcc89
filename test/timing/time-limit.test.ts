import { expect, it } from '@jest/globals';
import type { Clock } from '../../src/timing/clock.ts';
import { TimeLimit, within } from '../../src/timing/time-limit.ts';
import { unlessAborted } from '../../src/timing/unless-aborted.ts';

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

it('a call under a limit of its own gets its signal, and leaves nothing behind', async () => {
  const { clock, timers, pass } = fakeClock();
  const from = new AbortController();
  expect(await within(5, async (signal) => signal.aborted, from.signal, clock)).toBe(false);
  expect(timers.size).toBe(0);
  const late = within(5, (signal) => unlessAborted(new Promise(() => undefined), signal), undefined, clock);
  pass();
  await expect(late).rejects.toMatchObject({ name: 'TimeoutError' });
  const stopped = within(
    5,
    (signal) => unlessAborted(new Promise(() => undefined), signal),
    from.signal,
    clock,
  );
  from.abort('why');
  await expect(stopped).rejects.toBe('why');
  expect(timers.size).toBe(0);
});
