import { expect, it } from '@jest/globals';
import { manualClock } from '../../src/testing/manual-clock.ts';
import { defaultLimits } from '../../src/turn/limits.ts';
import { StallWatch } from '../../src/watch/stall.ts';

function watch(waitedMs: number) {
  const clock = manualClock();
  const limits = { ...defaultLimits, firstEventTimeoutMs: 120_000, idleTimeoutMs: 300_000 };
  const stall = new StallWatch(limits, clock);
  clock.jump(5_000);
  stall.begin(waitedMs);
  return { stall, clock };
}

it('the time until the first sign goes on where the owner before left it, and has a moment at least', () => {
  for (const [waitedMs, leftMs] of [
    [0, 120_000],
    [50_000, 70_000],
    [119_000, 30_000],
    [9_000_000, 30_000],
    [-5_000, 120_000],
  ] as const) {
    const { stall, clock } = watch(waitedMs);
    clock.jump(leftMs - 1);
    expect([waitedMs, stall.passed]).toEqual([waitedMs, false]);
    clock.jump(1);
    expect([waitedMs, stall.passed]).toEqual([waitedMs, true]);
  }
});

it('a run that has begun has the time of one that moves, however long it was waited for', () => {
  const { stall, clock } = watch(9_000_000);
  expect(stall.moved()).toBe(true);
  clock.jump(299_999);
  expect(stall.passed).toBe(false);
});
