import { expect, it } from '@jest/globals';
import { settleMsOf, startGraceMs } from '../../src/opencode/v1/verdict.ts';
import type { OpenVerdict } from '../../src/ports/verdict.ts';
import { Exchange } from '../../src/reply/exchange.ts';
import { manualClock } from '../../src/testing/manual-clock.ts';
import { Settling } from '../../src/watch/settling.ts';

const lostAfterMs = 2_000;
const waiting: OpenVerdict = { kind: 'unsettled' };
const failing: OpenVerdict = { kind: 'unsettled', failure: { reason: 'upstream_error', message: 'no' } };
const working: OpenVerdict = { kind: 'working' };
const notBegun = Exchange.from([], 'msg_own');

type Told = readonly [atMs: number, verdict: OpenVerdict, idleSeen?: boolean];

/** Whether each verdict, at its time, was said to stay, with the times of OpenCode 1.18. */
function looks(...told: readonly Told[]): boolean[] {
  const clock = manualClock();
  const settling = new Settling(lostAfterMs, clock);
  return told.map(([at, verdict, idleSeen = false]) => {
    clock.jump(at - clock.monotonicMs());
    const reading = { exchange: notBegun, busy: false, idleSeen, streamError: undefined };
    return settling.stays(verdict, settleMsOf(verdict, reading));
  });
}

it('an idle session whose run may still begin stays when that time is over', () => {
  expect(looks([0, waiting], [lostAfterMs, waiting], [startGraceMs, waiting])).toEqual([false, false, true]);
});

it('an error without an answer stays when two polls, some time apart, see nothing else', () => {
  expect(looks([0, failing])).toEqual([false]);
  expect(looks([0, failing], [lostAfterMs - 1, failing])).toEqual([false, false]);
  expect(looks([0, failing], [lostAfterMs, failing])).toEqual([false, true]);
});

it('an error that comes while a run is waited for has its own time', () => {
  expect(looks([0, waiting], [5_000, failing], [5_100, failing], [7_000, failing])).toEqual([
    false,
    false,
    false,
    true,
  ]);
});

it('a session that works in between begins anew', () => {
  expect(looks([0, failing], [1_000, working], [2_000, failing], [3_000, failing])).toEqual([
    false,
    false,
    false,
    false,
  ]);
});

it('messages that are complete weigh more than a busy status, soon when the stream told of idle', () => {
  const doubt: OpenVerdict = { kind: 'doubtful', meaning: { kind: 'completed' } };
  expect(looks([0, doubt, true], [lostAfterMs, doubt, true])).toEqual([false, true]);
  expect(looks([0, doubt], [lostAfterMs, doubt], [10_000, doubt])).toEqual([false, false, true]);
  expect(looks([0, doubt], [5_000, working], [10_000, doubt])).toEqual([false, false, false]);
});
