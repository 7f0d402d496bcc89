import { getEventListeners } from 'node:events';
import { afterEach, beforeEach, expect, it, jest } from '@jest/globals';
import { ServiceUnavailableError } from '../../src/errors.ts';
import { result } from '../../src/live/result.ts';
import type { TurnChange } from '../../src/ports/notifier.ts';
import type { TurnControl } from '../../src/turn/stored-turn.ts';

const id = 'a'.repeat(24);
let reads: string[];
let listeners: Set<(change: TurnChange) => void>;
let status: TurnControl['status'];
let away: boolean;
let closed: boolean;

beforeEach(() => {
  jest.useFakeTimers({ doNotFake: ['setImmediate', 'nextTick', 'queueMicrotask'] });
  [reads, listeners, status, away, closed] = [[], new Set(), 'pending', false, false];
});
afterEach(() => {
  jest.useRealTimers();
});

const read = (what: string) => async () => {
  reads.push(what);
  if (away) throw new ServiceUnavailableError('mongodb', 'away', { effect: 'none' });
  return { id, status } as never;
};
const deps = () => ({
  store: { control: read('control'), get: read('get') },
  stream: {
    get closed() {
      return closed;
    },
  },
  notifier: {
    listen: (_id: string, listener: (change: TurnChange) => void) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  },
});
const settled = () => new Promise((resolve) => setImmediate(resolve));
const tell = (change: TurnChange) => {
  for (const listener of listeners) listener(change);
};

it('what a turn says as it grows causes no read of the database, its end causes one at once', async () => {
  const waiting = result(deps(), id);
  await settled();
  // One before it listens, one after.
  expect(reads).toEqual(['control', 'control']);
  for (let at = 0; at < 100; at += 1) tell('grown');
  await settled();
  expect(reads).toEqual(['control', 'control']);
  status = 'completed';
  tell('ended');
  expect(await waiting).toEqual({ id, status });
  expect(reads).toEqual(['control', 'control', 'control', 'get']);
  expect([listeners.size, jest.getTimerCount()]).toEqual([0, 0]);
});

it('an end that nobody was told of is read within two seconds, and one that may have been missed at once', async () => {
  const silent = result(deps(), id);
  await settled();
  status = 'error';
  await jest.advanceTimersByTimeAsync(1_999);
  expect(reads).toEqual(['control', 'control']);
  await jest.advanceTimersByTimeAsync(1);
  expect(await silent).toEqual({ id, status });

  status = 'pending';
  const missed = result(deps(), id);
  await settled();
  status = 'cancelled';
  tell('unknown');
  expect(await missed).toEqual({ id, status });
});

it('one that ended long ago is read without listening', async () => {
  status = 'completed';
  expect(await result(deps(), id)).toEqual({ id, status });
  expect(reads).toEqual(['control', 'get']);
});

it('an abort leaves neither listener nor timer, whether it waits or the database is away', async () => {
  for (const isAway of [false, true]) {
    const leave = new AbortController();
    const waiting = result(deps(), id, { signal: leave.signal });
    await settled();
    away = isAway;
    tell('unknown');
    await settled();
    expect([listeners.size, jest.getTimerCount() > 0]).toEqual([1, true]);
    leave.abort();
    await expect(waiting).rejects.toMatchObject({ code: 'call_aborted', cause: { name: 'AbortError' } });
    await settled();
    expect([listeners.size, jest.getTimerCount()]).toEqual([0, 0]);
    expect(getEventListeners(leave.signal, 'abort')).toEqual([]);
  }
});

it('a database that is away is waited for, as long as nobody closes the connection', async () => {
  away = true;
  const waiting = result(deps(), id);
  await jest.advanceTimersByTimeAsync(60_000);
  [away, status] = [false, 'completed'];
  await jest.advanceTimersByTimeAsync(2_000);
  expect(await waiting).toEqual({ id, status });

  [away, status] = [true, 'pending'];
  const left = result(deps(), id).catch((error: unknown) => error);
  await jest.advanceTimersByTimeAsync(1_000);
  closed = true;
  await jest.advanceTimersByTimeAsync(2_000);
  expect(await left).toMatchObject({ code: 'service_unavailable' });
  expect(jest.getTimerCount()).toBe(0);
});
