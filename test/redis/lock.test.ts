import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { startRedis } from '../../dev/services/redis.ts';
import type { Service } from '../../dev/services/service.ts';
import { LockLostError, LockUnavailableError } from '../../src/errors.ts';
import { openRedis } from '../../src/redis/connection.ts';
import { ConversationLock, type ConversationLockOptions } from '../../src/redis/lock.ts';
import { manualClock } from '../../src/testing/manual-clock.ts';
import { lockContract } from '../contract/lock.ts';
import { deferred } from '../support/deferred.ts';
import { eventually } from '../support/eventually.ts';
import { startTcpProxy, type TcpProxy, through } from '../support/tcp-proxy.ts';

const reports: { error: unknown; action: string }[] = [];
const reporter = {
  report: (error: unknown, { action }: { action: string }) => reports.push({ error, action }),
};
const never = new Promise<never>(() => undefined);
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

let service: Service;
let redis: Redis;
let count = 0;
let key: string;
const opened: (() => void)[] = [];

beforeAll(async () => {
  service = await startRedis(() => undefined);
  redis = await openRedis(service.url, 'commands', reporter);
}, 60_000);
afterAll(async () => {
  await redis?.quit();
  await service?.stop();
});
beforeEach(() => {
  count += 1;
  key = `conversation${count}`;
  reports.length = 0;
});
afterEach(() => {
  for (const close of opened.splice(0)) close();
});

/** Longer than any test: what is to end sooner is given its own time, or a clock that is moved by hand. */
const longMs = 120_000;
const lock = (options: Partial<ConversationLockOptions> = {}) =>
  new ConversationLock({
    redis,
    prefix: 'lock-test',
    reporter,
    leaseMs: longMs,
    waitMs: longMs,
    awayMs: longMs,
    ...options,
  });
const stored = () => redis.get(`lock-test:lock:${key}`);
const ttl = () => redis.pttl(`lock-test:lock:${key}`);
const aborted = (signal: AbortSignal) =>
  new Promise<unknown>((resolve) => signal.addEventListener('abort', () => resolve(signal.reason)));
/** Somebody has the lock until `gate` opens. */
async function heldByOther() {
  const gate = deferred();
  const done = lock().run(key, () => gate.promise);
  await eventually(async () => expect(await stored()).not.toBeNull());
  const release = () => {
    gate.resolve();
    return done;
  };
  return { release };
}
/** A lock whose way to Redis can be cut (answers reset) or frozen (nothing passes, nothing is refused). */
async function wired(
  options: Partial<ConversationLockOptions> = {},
): Promise<{ wire: TcpProxy; connection: Redis; lock: ConversationLock }> {
  const wire = await startTcpProxy(service.url);
  const connection = await openRedis(through(wire, service.url), 'commands', reporter);
  opened.push(
    () => connection.disconnect(),
    () => void wire.stop(),
  );
  return { wire, connection, lock: lock({ redis: connection, ...options }) };
}

describe('the contract', () => {
  lockContract(async () => ({ lock, newKey: () => `contract${++count}` }));
});

describe('a lock', () => {
  it('leaves nothing behind, and reports nothing', async () => {
    expect(await lock().run(key, stored)).not.toBeNull();
    expect(await stored()).toBeNull();
    expect(reports).toEqual([]);
  });

  it('is kept for as long as the work takes, well beyond the lease', async () => {
    const clock = manualClock();
    const signal = await lock({ clock }).run(key, async (lease) => {
      for (let look = 0; look < 8; look += 1) {
        // Half of the lease has gone by, here and in Redis.
        await redis.pexpire(`lock-test:lock:${key}`, longMs / 2);
        clock.jump(longMs / 2);
        await eventually(async () => expect(await ttl()).toBeGreaterThan(longMs / 2));
        // The answer has come here, too: the next extension is planned, and the expiry.
        await eventually(() => expect(clock.waiting).toBe(2));
      }
      return lease;
    });
    expect(signal.aborted).toBe(false);
    expect(clock.waiting).toBe(0);
    expect(await stored()).toBeNull();
    expect(reports).toEqual([]);
  });

  it('gives up waiting with the reason of an abort, and holds nothing then', async () => {
    const holder = await heldByOther();
    const controller = new AbortController();
    const reason = new Error('enough');
    const clock = manualClock();
    const waiter = lock({ clock }).run(key, () => never, controller.signal);
    waiter.catch(() => undefined);
    // It was told that the lock is held, and sleeps on a clock that stands still.
    await eventually(() => expect(clock.waiting).toBe(1));
    controller.abort(reason);
    await expect(waiter).rejects.toBe(reason);
    await holder.release();
    expect(await stored()).toBeNull();
    await expect(lock().run(key, () => never, controller.signal)).rejects.toBe(reason);
    expect(await stored()).toBeNull();
  });
});

describe('a lock that is lost', () => {
  it('aborts the work with LockLostError when somebody else has it, and leaves theirs alone', async () => {
    const clock = manualClock();
    const run = lock({ clock }).run(key, async (signal) => {
      await redis.set(`lock-test:lock:${key}`, 'theirs');
      // Time to extend it, and long before it runs out.
      clock.jump(longMs / 2);
      return aborted(signal);
    });
    expect(await run).toEqual(new LockLostError(key));
    expect(await stored()).toBe('theirs');
  });

  it.each(['cut', 'freeze'] as const)(
    'aborts the work before Redis would give it to somebody else, when Redis is gone, and keeps the result (%s)',
    async (how) => {
      const clock = manualClock();
      const { wire, lock: away } = await wired({ clock });
      const result = await away.run(key, async (signal) => {
        wire[how]();
        clock.jump(0.97 * longMs);
        expect(signal.aborted).toBe(false);
        clock.jump(0.02 * longMs);
        expect(signal.reason).toEqual(new LockLostError(key));
        return 'finished all the same';
      });
      expect(result).toBe('finished all the same');
    },
  );

  it('counts the lease from the question for it, not from the answer', async () => {
    const clock = manualClock();
    const { wire, lock: slow } = await wired({ clock });
    wire.freeze();
    const run = slow.run(key, async (signal) => {
      expect(signal.aborted).toBe(false);
      clock.jump(0.29 * longMs);
      return signal.reason;
    });
    clock.jump(0.7 * longMs);
    wire.restore();
    expect(await run).toEqual(new LockLostError(key));
  });

  it('is kept over an outage that is shorter than the lease', async () => {
    const clock = manualClock();
    const { wire, connection, lock: cut } = await wired({ clock });
    const signal = await cut.run(key, async (lease) => {
      await redis.pexpire(`lock-test:lock:${key}`, longMs / 2);
      wire.cut();
      clock.jump(longMs / 2);
      // It was not extended: that is tried again after a pause, and the expiry draws near.
      await eventually(() => expect(clock.waiting).toBe(2));
      expect(await ttl()).toBeLessThanOrEqual(longMs / 2);
      wire.restore();
      await eventually(() => expect(connection.status).toBe('ready'));
      clock.jump(longMs / 20);
      await eventually(async () => expect(await ttl()).toBeGreaterThan(longMs / 2));
      return lease;
    });
    expect(signal.aborted).toBe(false);
    expect(await stored()).toBeNull();
  });

  it('after a frozen event loop has been lost when the work looks again', async () => {
    const run = lock({ leaseMs: 200 }).run(key, async (signal) => {
      const until = performance.now() + 500;
      while (performance.now() < until);
      await pause(5);
      return signal.reason;
    });
    expect(await run).toBeInstanceOf(LockLostError);
  });
});

describe('the result of the work', () => {
  it('is kept when the release fails, which is reported', async () => {
    const { wire, lock: cut } = await wired();
    const result = await cut.run(key, async () => {
      wire.cut();
      return 'precious';
    });
    expect(result).toBe('precious');
    expect(reports.map(({ action }) => action)).toContain('lock.release');
  });

  it('does not wait long for a release that nobody answers', async () => {
    const { wire, lock: frozen } = await wired();
    expect(
      await frozen.run(key, async () => {
        wire.freeze();
        return 'precious';
      }),
    ).toBe('precious');
    // By a time limit of its own: no connection was given up.
    const released = reports.filter(({ action }) => action === 'lock.release');
    expect(released).toEqual([
      { error: expect.objectContaining({ name: 'TimeoutError' }), action: 'lock.release' },
    ]);
  });
});

describe('without Redis', () => {
  it.each(['cut', 'freeze'] as const)('says LockUnavailableError in bounded time (%s)', async (how) => {
    const { wire, lock: away } = await wired({ awayMs: 400 });
    wire[how]();
    let ran = false;
    const run = away.run(key, async () => {
      ran = true;
    });
    await expect(run).rejects.toEqual(new LockUnavailableError(key));
    expect(ran).toBe(false);
  });

  it('does not call it held when it stopped answering while somebody held it', async () => {
    const holder = await heldByOther();
    const clock = manualClock();
    const { wire, lock: away } = await wired({ clock, awayMs: longMs / 2 });
    const waiter = away.run(key, () => never);
    waiter.catch(() => undefined);
    await eventually(() => expect(clock.waiting).toBe(1));
    wire.cut();
    clock.jump(longMs);
    await expect(waiter).rejects.toEqual(new LockUnavailableError(key));
    await holder.release();
  });

  it('hears an abort while it asks', async () => {
    const wire = await startTcpProxy(service.url);
    // A connection that waits for ever: nothing but the abort ends the question.
    const connection = new Redis(through(wire, service.url));
    opened.push(
      () => connection.disconnect(),
      () => void wire.stop(),
    );
    await connection.ping();
    wire.freeze();
    const reason = new Error('enough');
    const controller = new AbortController();
    const waiter = lock({ redis: connection }).run(key, () => never, controller.signal);
    controller.abort(reason);
    await expect(waiter).rejects.toBe(reason);
  });
});

it('a released lock is not extended any more', async () => {
  const clock = manualClock();
  await lock({ clock }).run(key, async () => {
    clock.jump(longMs / 2);
    // The extension is under way when the work ends.
    expect(clock.waiting).toBe(1);
  });
  expect(clock.waiting).toBe(0);
  expect(await stored()).toBeNull();
});
