import { expect, it } from '@jest/globals';
import type { Lock } from '../../src/ports/lock.ts';
import type { OpenStop, StopStore } from '../../src/ports/stop-store.ts';
import { sessionLock } from '../../src/session/session.ts';
import { takeOverStops } from '../../src/stop/open-stops.ts';
import type { StopRef } from '../../src/turn/stored-turn.ts';

const never = new AbortController().signal;
const stop = (sessionId: string, promptMessageId: string): StopRef => ({
  sessionId,
  server: 'http://server.invalid',
  directory: '/d',
  promptMessageId,
});

/** What is open of one record, in the order of the store, and what was done to it. */
function record(...stops: StopRef[]) {
  const log: string[] = [];
  let open = stops.map(
    (one, at): OpenStop => ({ turnId: `t${at}`, conversationId: 'r', stops: [one], since: 0 }),
  );
  const store: StopStore = {
    open: async ({ conversationId }) => (conversationId === 'r' ? open : []),
    tried: async (turnId) => void log.push(`tried ${turnId}`),
    close: async (turnId) => {
      log.push(`close ${turnId}`);
      open = open.filter((one) => one.turnId !== turnId);
    },
  };
  const lock: Lock = {
    run: (key, fn) => {
      log.push(`lock ${key}`);
      return fn(never);
    },
  };
  const takeOver = (ended: boolean, lockOf = lock) =>
    takeOverStops(
      { stops: store, lock: lockOf },
      'r',
      'ses',
      async ({ promptMessageId }) => {
        log.push(`end ${promptMessageId}`);
        return ended;
      },
      never,
    );
  return { log, takeOver, lock, empty: () => (open = []) };
}

it('ends and closes what is open in the session, under the lock of the record, and leaves other sessions alone', async () => {
  const { log, takeOver } = record(stop('ses', 'm0'), stop('other', 'm1'), stop('ses', 'm2'));
  expect(await takeOver(true)).toBe(true);
  expect(log).toEqual([`lock ${sessionLock('r')}`, 'end m0', 'close t0', 'end m2', 'close t2']);
});

it('keeps open what did not end, and goes no further', async () => {
  const { log, takeOver } = record(stop('ses', 'm0'), stop('ses', 'm2'));
  expect(await takeOver(false)).toBe(false);
  expect(log).toEqual([`lock ${sessionLock('r')}`, 'end m0']);
});

it('asks for no lock when nothing is open in the session', async () => {
  const { log, takeOver } = record(stop('other', 'm1'));
  expect(await takeOver(true)).toBeUndefined();
  expect(log).toEqual([]);
});

it('ends nothing that somebody else has closed while the lock was waited for', async () => {
  const { log, takeOver, lock, empty } = record(stop('ses', 'm0'));
  const late: Lock = {
    run: (...args) => {
      empty();
      return lock.run(...args);
    },
  };
  expect(await takeOver(true, late)).toBe(true);
  expect(log).toEqual([`lock ${sessionLock('r')}`]);
});
