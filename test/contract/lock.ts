/** What every Lock owes those who want it, whatever keeps the lease. */
import { beforeAll, beforeEach, expect, it } from '@jest/globals';
import { LockHeldError } from '../../src/errors.ts';
import type { Lock } from '../../src/ports/lock.ts';
import { deferred } from '../support/deferred.ts';

export interface LockWorld {
  /** One of the holders of a deployment; waits long, unless it is told how long. */
  lock(options?: { readonly waitMs?: number }): Lock;
  newKey(): string;
}

const never = new Promise<never>(() => undefined);
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

export function lockContract(open: () => Promise<LockWorld>): void {
  let world: LockWorld;
  let key: string;
  beforeAll(async () => {
    world = await open();
  });
  beforeEach(() => {
    key = world.newKey();
  });
  const lock = (options?: { readonly waitMs?: number }) => world.lock(options);
  const isFree = async () => (await lock({ waitMs: 1 }).run(key, async () => 'free')) === 'free';
  /** Somebody else has it until that is called. */
  const heldByOther = async () => {
    const [gate, begun] = [deferred(), deferred()];
    const done = lock().run(key, () => {
      begun.resolve();
      return gate.promise;
    });
    await begun.promise;
    return () => {
      gate.resolve();
      return done;
    };
  };

  it('answers what the work answers, throws what it throws, and is free again after both', async () => {
    expect(await lock().run(key, async () => 'done')).toBe('done');
    expect(await isFree()).toBe(true);
    const broken = new Error('broken');
    await expect(lock().run(key, () => Promise.reject(broken))).rejects.toBe(broken);
    expect(await isFree()).toBe(true);
  });

  it('lets fifty contenders in one after the other', async () => {
    let inside = 0;
    let most = 0;
    const locks = [lock(), lock()];
    const work = async (n: number) => {
      inside += 1;
      most = Math.max(most, inside);
      await pause(2);
      inside -= 1;
      return n;
    };
    const results = await Promise.all(
      Array.from({ length: 50 }, (_, n) => locks[n % 2]?.run(key, () => work(n))),
    );
    expect(most).toBe(1);
    expect(results).toEqual(Array.from({ length: 50 }, (_, n) => n));
  });

  it('of one name does not keep another one waiting', async () => {
    expect(await lock().run(key, () => lock().run(`${key}:other`, async () => 'in'))).toBe('in');
  });

  it('that is held is refused with LockHeldError after the wait, and not before', async () => {
    const release = await heldByOther();
    const since = performance.now();
    let ran = false;
    const run = lock({ waitMs: 300 }).run(key, async () => {
      ran = true;
    });
    await expect(run).rejects.toEqual(new LockHeldError(key));
    expect(performance.now() - since).toBeGreaterThanOrEqual(299);
    expect(ran).toBe(false);
    await release();
  });

  it('gives up waiting with the reason of an abort, and holds nothing then', async () => {
    const release = await heldByOther();
    const controller = new AbortController();
    const reason = new Error('enough');
    const waiter = lock().run(key, () => never, controller.signal);
    waiter.catch(() => undefined);
    controller.abort(reason);
    await expect(waiter).rejects.toBe(reason);
    await release();
    expect(await isFree()).toBe(true);
    await expect(lock().run(key, () => never, controller.signal)).rejects.toBe(reason);
    expect(await isFree()).toBe(true);
  });

  it("hands the caller's abort to the work", async () => {
    const controller = new AbortController();
    const reason = new Error('enough');
    const work = async (signal: AbortSignal) => {
      controller.abort(reason);
      signal.throwIfAborted();
    };
    await expect(lock().run(key, work, controller.signal)).rejects.toBe(reason);
    expect(await isFree()).toBe(true);
  });
}
