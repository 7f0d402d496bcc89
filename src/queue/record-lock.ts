import type { Redis } from 'ioredis';
import Redlock, { ExecutionError, type Lock as RedlockLease, ResourceLockedError } from 'redlock';
import { LockHeldError, LockLostError, LockUnavailableError } from '../errors.ts';
import type { ErrorReporter } from '../instrumentation/error-reporter.ts';
import { type Clock, systemClock } from '../timing/clock.ts';
import type { Lock } from '../turn/ports.ts';

export interface RecordLockOptions {
  /** A connection of the role `commands`: it fails fast, so that nobody waits for a lock that cannot be had. */
  readonly redis: Redis;
  readonly prefix: string;
  readonly reporter: ErrorReporter;
  readonly clock?: Clock;
  /** The lease lives this long without extension. It is extended at half time. Default 10 s. */
  readonly leaseMs?: number;
  /** How long to wait for a holder. Default 15 s. */
  readonly waitMs?: number;
}

const retryDelayMs = 50;
const retryJitterMs = 50;

/**
 * Leases on Redis by Redlock, with our own words for what goes wrong. A lease is advisory: what it guards must
 * also be fenced (compare-and-set, unique index), since Redis may lose it and a frozen holder does not notice.
 */
export class RecordLock implements Lock {
  readonly #redlock: Redlock;
  readonly #options: Required<Omit<RecordLockOptions, 'redis'>>;

  constructor({ redis, ...options }: RecordLockOptions) {
    this.#options = { clock: systemClock, leaseMs: 10_000, waitMs: 15_000, ...options };
    this.#redlock = new Redlock([redis], { driftFactor: 0.01 });
    // Each failed vote is told here as well; the calls below tell the one that counts.
    this.#redlock.on('error', () => undefined);
  }

  async run<T>(key: string, fn: (signal: AbortSignal) => Promise<T>, signal?: AbortSignal): Promise<T> {
    signal?.throwIfAborted();
    const name = `${this.#options.prefix}:lock:${key}`;
    const holder = new Holder(await this.#acquire(name, key), name, this.#options);
    try {
      return await fn(signal ? AbortSignal.any([signal, holder.signal]) : holder.signal);
    } finally {
      await holder.release();
    }
  }

  async #acquire(name: string, key: string): Promise<RedlockLease> {
    const { leaseMs, waitMs } = this.#options;
    const retryCount = Math.ceil(waitMs / (retryDelayMs + retryJitterMs / 2));
    try {
      return await this.#redlock.acquire([name], leaseMs, {
        retryCount,
        retryDelay: retryDelayMs,
        retryJitter: retryJitterMs,
      });
    } catch (cause) {
      throw (await isHeld(cause))
        ? new LockHeldError(key, { cause })
        : new LockUnavailableError(key, { cause });
    }
  }
}

/** Keeps one lease alive. `signal` aborts with LockLostError when that fails. */
class Holder {
  readonly #controller = new AbortController();
  readonly #name: string;
  readonly #options: Required<Omit<RecordLockOptions, 'redis'>>;
  #lease: RedlockLease;
  #cancelTimer: () => void = () => undefined;
  #extending: Promise<void> = Promise.resolve();

  constructor(lease: RedlockLease, name: string, options: Required<Omit<RecordLockOptions, 'redis'>>) {
    this.#lease = lease;
    this.#name = name;
    this.#options = options;
    this.#plan();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Never throws: the work under the lease is done, and its result is worth more than a tidy end. */
  async release(): Promise<void> {
    this.#cancelTimer();
    await this.#extending;
    if (this.signal.aborted) return;
    try {
      await this.#lease.release();
    } catch (error) {
      this.#options.reporter.report(error, { action: 'lock.release', severity: 'warning', lock: this.#name });
    }
  }

  #plan(): void {
    const { clock, leaseMs } = this.#options;
    this.#cancelTimer = clock.setTimer(leaseMs / 2, () => {
      this.#extending = this.#extend();
    });
  }

  async #extend(): Promise<void> {
    try {
      this.#lease = await this.#lease.extend(this.#options.leaseMs);
      this.#plan();
    } catch (cause) {
      this.#controller.abort(new LockLostError(this.#name, { cause }));
    }
  }
}

/** Redlock throws one class for both; only the votes tell a taken lock from a Redis that does not answer. */
async function isHeld(error: unknown): Promise<boolean> {
  if (!(error instanceof ExecutionError)) return false;
  const last = await error.attempts.at(-1);
  return (
    last !== undefined && [...last.votesAgainst.values()].some((vote) => vote instanceof ResourceLockedError)
  );
}
