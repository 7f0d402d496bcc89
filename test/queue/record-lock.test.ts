import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { Redis } from 'ioredis';
import { startRedis } from '../../src/dev/services/redis.ts';
import type { Service } from '../../src/dev/services/service.ts';
import { LockHeldError, LockLostError, LockUnavailableError } from '../../src/errors.ts';
import { RecordLock, type RecordLockOptions } from '../../src/queue/record-lock.ts';
import { openRedis } from '../../src/queue/redis.ts';
import { systemClock } from '../../src/timing/clock.ts';
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
  key = `record${count}`;
  reports.length = 0;
});
afterEach(() => {
  for (const close of opened.splice(0)) close();
});

const lock = (options: Partial<RecordLockOptions> = {}) =>
  new RecordLock({
    redis,
    prefix: 'lock-test',
    reporter,
    leaseMs: 600,
    waitMs: 300,
    awayMs: 400,
    ...options,
  });
const stored = () => redis.get(`lock-test:lock:${key}`);
const ttl = () => redis.pttl(`lock-test:lock:${key}`);
const aborted = (signal: AbortSignal) =>
  new Promise<{ reason: unknown; at: number }>((resolve) =>
    signal.addEventListener('abort', () => resolve({ reason: signal.reason, at: performance.now() })),
  );
/** A lock whose way to Redis can be cut (answers reset) or frozen (nothing passes, nothing is refused). */
async function wired(
  options: Partial<RecordLockOptions> = {},
): Promise<{ wire: TcpProxy; lock: RecordLock }> {
  const wire = await startTcpProxy(service.url);
  const connection = await openRedis(through(wire, service.url), 'commands', reporter);
  opened.push(() => connection.disconnect());
  opened.push(() => void wire.stop());
  return { wire, lock: lock({ redis: connection, ...options }) };
}

describe('a lock', () => {
  it('answers what the work answers, throws what it throws, and is free again after both', async () => {
    expect(await lock().run(key, async () => 'done')).toBe('done');
    expect(await stored()).toBeNull();
    const broken = new Error('broken');
    await expect(lock().run(key, () => Promise.reject(broken))).rejects.toBe(broken);
    expect(await stored()).toBeNull();
    expect(reports).toEqual([]);
  });

  it('lets fifty contenders in one after the other', async () => {
    let inside = 0;
    let most = 0;
    const locks = [lock({ waitMs: 20_000 }), lock({ waitMs: 20_000 })];
    const results = await Promise.all(
      Array.from({ length: 50 }, (_, n) =>
        locks[n % 2]?.run(key, async () => {
          inside += 1;
          most = Math.max(most, inside);
          await pause(2);
          inside -= 1;
          return n;
        }),
      ),
    );
    expect(most).toBe(1);
    expect(results).toEqual(Array.from({ length: 50 }, (_, n) => n));
  });

  it('of one name does not keep another one waiting', async () => {
    const inner = await lock().run(key, () => lock().run(`${key}:other`, async () => 'in'));
    expect(inner).toBe('in');
  });

  it('that is held is refused with LockHeldError after the wait, and not before', async () => {
    const gate = deferred();
    const holder = lock().run(key, () => gate.promise);
    await eventually(async () => expect(await stored()).not.toBeNull());
    const since = performance.now();
    let ran = false;
    await expect(
      lock().run(key, async () => {
        ran = true;
      }),
    ).rejects.toEqual(new LockHeldError(key));
    expect(performance.now() - since).toBeGreaterThanOrEqual(295);
    expect(performance.now() - since).toBeLessThan(1_500);
    expect(ran).toBe(false);
    gate.resolve();
    await holder;
  });

  it('is kept for as long as the work takes, well beyond the lease', async () => {
    const signal = await lock().run(key, async (lease) => {
      for (let look = 0; look < 8; look += 1) {
        await pause(200);
        expect(await ttl()).toBeGreaterThan(150);
      }
      return lease;
    });
    expect(signal.aborted).toBe(false);
    expect(await stored()).toBeNull();
    expect(reports).toEqual([]);
  });

  it('gives up waiting with the reason of an abort, and holds nothing then', async () => {
    const gate = deferred();
    const holder = lock().run(key, () => gate.promise);
    await eventually(async () => expect(await stored()).not.toBeNull());
    const controller = new AbortController();
    const reason = new Error('enough');
    const waiter = lock({ waitMs: 20_000 }).run(key, () => never, controller.signal);
    setTimeout(() => controller.abort(reason), 30);
    const since = performance.now();
    await expect(waiter).rejects.toBe(reason);
    expect(performance.now() - since).toBeLessThan(1_000);
    gate.resolve();
    await holder;
    expect(await stored()).toBeNull();
    await expect(lock().run(key, () => never, controller.signal)).rejects.toBe(reason);
    expect(await stored()).toBeNull();
  });

  it("hands the caller's abort to the work", async () => {
    const controller = new AbortController();
    const reason = new Error('enough');
    const run = lock().run(
      key,
      async (signal) => {
        controller.abort(reason);
        signal.throwIfAborted();
      },
      controller.signal,
    );
    await expect(run).rejects.toBe(reason);
    expect(await stored()).toBeNull();
  });
});

describe('a lock that is lost', () => {
  it('aborts the work with LockLostError when somebody else has it, and leaves theirs alone', async () => {
    const run = lock().run(key, async (signal) => {
      await redis.set(`lock-test:lock:${key}`, 'theirs');
      return (await aborted(signal)).reason;
    });
    expect(await run).toEqual(new LockLostError(key));
    expect(await stored()).toBe('theirs');
  });

  it('aborts the work before Redis would give it to somebody else, when Redis is frozen', async () => {
    const { wire, lock: frozen } = await wired();
    const lost = await frozen.run(key, async (signal) => {
      wire.freeze();
      const { reason } = await aborted(signal);
      return { reason, stillOurs: await stored() };
    });
    expect(lost.reason).toEqual(new LockLostError(key));
    expect(lost.stillOurs).not.toBeNull();
  });

  it('aborts the work in time when Redis is gone, and keeps the result', async () => {
    const { wire, lock: cut } = await wired();
    const since = performance.now();
    const result = await cut.run(key, async (signal) => {
      wire.cut();
      const { reason, at } = await aborted(signal);
      expect(reason).toBeInstanceOf(LockLostError);
      expect(at - since).toBeLessThan(600);
      return 'finished all the same';
    });
    expect(result).toBe('finished all the same');
  });

  it('is kept over an outage that is shorter than the lease', async () => {
    const { wire, lock: cut } = await wired({ leaseMs: 1_600 });
    const signal = await cut.run(key, async (lease) => {
      // Over half time, at which the lease is extended, and back before it runs out.
      await pause(700);
      wire.cut();
      await pause(300);
      wire.restore();
      await pause(1_000);
      expect(await ttl()).toBeGreaterThan(0);
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
    const since = performance.now();
    expect(
      await frozen.run(key, async () => {
        wire.freeze();
        return 'precious';
      }),
    ).toBe('precious');
    expect(performance.now() - since).toBeLessThan(2_500);
    expect(reports.map(({ action }) => action)).toContain('lock.release');
  });
});

describe('without Redis', () => {
  it.each(['cut', 'freeze'] as const)('says LockUnavailableError in bounded time (%s)', async (how) => {
    const { wire, lock: away } = await wired();
    wire[how]();
    const since = performance.now();
    let ran = false;
    const run = away.run(key, async () => {
      ran = true;
    });
    await expect(run).rejects.toEqual(new LockUnavailableError(key));
    expect(performance.now() - since).toBeLessThan(2_000);
    expect(ran).toBe(false);
  });

  it('does not call it held when it stopped answering while somebody held it', async () => {
    const gate = deferred();
    const holder = lock().run(key, () => gate.promise);
    await eventually(async () => expect(await stored()).not.toBeNull());
    const { wire, lock: away } = await wired({ waitMs: 20_000, awayMs: 300 });
    const waiter = away.run(key, () => never);
    setTimeout(() => wire.cut(), 150);
    await expect(waiter).rejects.toEqual(new LockUnavailableError(key));
    gate.resolve();
    await holder;
  });

  it('hears an abort while it asks', async () => {
    const { wire, lock: away } = await wired();
    wire.freeze();
    const reason = new Error('enough');
    const since = performance.now();
    await expect(away.run(key, () => never, AbortSignal.any([after(50, reason)]))).rejects.toBe(reason);
    expect(performance.now() - since).toBeLessThan(300);
  });
});

it('a released lock is not extended any more', async () => {
  const timers: number[] = [];
  let live = 0;
  const clock = {
    ...systemClock,
    setTimer: (ms: number, fn: () => void) => {
      timers.push(ms);
      live += 1;
      const cancel = systemClock.setTimer(ms, () => {
        live -= 1;
        fn();
      });
      let cancelled = false;
      return () => {
        if (!cancelled) live -= 1;
        cancelled = true;
        cancel();
      };
    },
  };
  await lock({ clock, leaseMs: 100 }).run(key, () => pause(52));
  await pause(120);
  expect(timers.length).toBeGreaterThan(1);
  expect(live).toBeLessThanOrEqual(0);
  expect(await stored()).toBeNull();
});

function after(ms: number, reason: Error): AbortSignal {
  const controller = new AbortController();
  setTimeout(() => controller.abort(reason), ms);
  return controller.signal;
}
