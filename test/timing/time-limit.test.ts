import { expect, it } from '@jest/globals';
import { manualClock } from '../../src/testing/manual-clock.ts';
import { TimeLimit, within } from '../../src/timing/time-limit.ts';
import { unlessAborted } from '../../src/timing/unless-aborted.ts';

it('aborts when the time is over, and says that it was the time', () => {
  const clock = manualClock();
  const limit = new TimeLimit(5, undefined, clock);
  expect([limit.signal.aborted, limit.passed]).toEqual([false, false]);
  clock.jump(5);
  expect([limit.signal.aborted, limit.passed]).toEqual([true, true]);
  expect(limit.signal.reason).toMatchObject({ name: 'TimeoutError' });
});

it('aborts with the reason of the signal that it was given, before or after, and keeps no timer then', () => {
  for (const early of [true, false]) {
    const clock = manualClock();
    const from = new AbortController();
    if (early) from.abort('why');
    const limit = new TimeLimit(5, from.signal, clock);
    from.abort('why');
    expect(limit.signal.reason).toBe('why');
    expect([limit.passed, clock.waiting]).toEqual([false, 0]);
  }
});

it('once it has ended holds no timer and hears nothing any more', () => {
  const clock = manualClock();
  const from = new AbortController();
  const limit = new TimeLimit(5, from.signal, clock);
  limit.end();
  expect(clock.waiting).toBe(0);
  from.abort();
  expect(limit.signal.aborted).toBe(false);
});

it('a call under a limit of its own gets its signal, and leaves nothing behind', async () => {
  const clock = manualClock();
  const from = new AbortController();
  expect(await within(5, async (signal) => signal.aborted, from.signal, clock)).toBe(false);
  expect(clock.waiting).toBe(0);
  const late = within(5, (signal) => unlessAborted(new Promise(() => undefined), signal), undefined, clock);
  clock.jump(5);
  await expect(late).rejects.toMatchObject({ name: 'TimeoutError' });
  const stopped = within(
    5,
    (signal) => unlessAborted(new Promise(() => undefined), signal),
    from.signal,
    clock,
  );
  from.abort('why');
  await expect(stopped).rejects.toBe('why');
  expect(clock.waiting).toBe(0);
});
