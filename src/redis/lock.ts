import type { Redis } from 'ioredis';
import Redlock, { type Lock as RedlockLease } from 'redlock';
import { LockHeldError, LockUnavailableError } from '../errors.ts';
import type { ErrorReporter } from '../instrumentation/error-reporter.ts';
import type { Lock } from '../ports/lock.ts';
import { type Clock, delay, systemClock } from '../timing/clock.ts';
import { within } from '../timing/time-limit.ts';
import { unlessAborted } from '../timing/unless-aborted.ts';
import { HeldLease, isTaken, voteOf } from './held-lease.ts';
import { redlockClient } from './redlock-client.ts';

export interface ConversationLockOptions {
  /** A connection of the role `commands`: it fails fast, so that nobody waits for a lock that cannot be had. */
  readonly redis: Redis;
  readonly prefix: string;
  readonly reporter: ErrorReporter;
  readonly clock?: Clock;
  /** The lease lives this long without extension. It is extended at half time. Whole ms, at least 100. Default 10 s. */
  readonly leaseMs?: number;
  /** How long to wait for a holder. Default 15 s. */
  readonly waitMs?: number;
  /** How long to go on asking a Redis that does not answer. Default 2 s. */
  readonly awayMs?: number;
}

/** One holder's critical section takes tens of milliseconds; waiters look 50 to 100 ms apart. */
const retryMs = 50;

/**
 * Leases on Redis by Redlock, with our own words for what goes wrong. Not fair and not reentrant. A lease is
 * advisory: what it guards must also be fenced (compare-and-set, unique index), since Redis may lose it and a
 * frozen holder does not notice.
 */
export class ConversationLock implements Lock {
  readonly #redlock: Redlock;
  readonly #options: Required<Omit<ConversationLockOptions, 'redis'>>;

  constructor({ redis, ...options }: ConversationLockOptions) {
    this.#options = { clock: systemClock, leaseMs: 10_000, waitMs: 15_000, awayMs: 2_000, ...options };
    // Redlock's own retries hear no signal and cannot tell a taken lock from a dead Redis: the loops here do both.
    this.#redlock = new Redlock([redlockClient(redis)], {
      driftFactor: 0.01,
      retryCount: 0,
      retryDelay: 0,
      retryJitter: 0,
    });
  }

  async run<T>(key: string, fn: (signal: AbortSignal) => Promise<T>, signal?: AbortSignal): Promise<T> {
    const { prefix, clock, leaseMs, reporter } = this.#options;
    const name = `${prefix}:lock:${key}`;
    const since = clock.monotonicMs();
    const { lease, askedAt } = await this.#acquire(name, key, since, signal);
    const held = new HeldLease(lease, { key, clock, leaseMs, reporter, askedAt });
    try {
      signal?.throwIfAborted();
      return await fn(signal ? AbortSignal.any([signal, held.signal]) : held.signal);
    } finally {
      await held.release();
    }
  }

  async #acquire(
    name: string,
    key: string,
    since: number,
    signal: AbortSignal | undefined,
  ): Promise<{ lease: RedlockLease; askedAt: number }> {
    const { clock, waitMs, awayMs } = this.#options;
    let answeredAt = since;
    for (;;) {
      // The lease counts from the question, not from the answer.
      const askedAt = clock.monotonicMs();
      try {
        return { lease: await this.#ask(name, signal), askedAt };
      } catch (error) {
        signal?.throwIfAborted();
        const now = clock.monotonicMs();
        const taken = await isTaken(error);
        const cause = await voteOf(error);
        if (taken) answeredAt = now;
        if (now - answeredAt >= awayMs) throw new LockUnavailableError(key, { cause });
        if (now - since >= waitMs)
          throw taken ? new LockHeldError(key, { cause }) : new LockUnavailableError(key, { cause });
      }
      await delay(retryMs * (1 + Math.random()), clock, signal);
    }
  }

  /** One question, which nobody waits for longer than `awayMs`. A lease that comes too late goes back. */
  async #ask(name: string, signal: AbortSignal | undefined): Promise<RedlockLease> {
    const { leaseMs, awayMs } = this.#options;
    return within(
      awayMs,
      async (stop) => {
        stop.throwIfAborted();
        const asked = this.#redlock.acquire([name], leaseMs);
        try {
          return await unlessAborted(asked, stop);
        } catch (error) {
          if (stop.aborted)
            asked.then((late) => late.release()).catch(() => undefined /* it runs out by itself */);
          throw error;
        }
      },
      signal,
    );
  }
}
