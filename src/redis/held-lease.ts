import { ExecutionError, type Lock as RedlockLease, ResourceLockedError } from 'redlock';
import { LockLostError } from '../errors.ts';
import type { ErrorReporter } from '../instrumentation/error-reporter.ts';
import { type Clock, delay } from '../timing/clock.ts';
import { within } from '../timing/time-limit.ts';
import { unlessAborted } from '../timing/unless-aborted.ts';
import { redisError } from './errors.ts';

export interface HeldLeaseOptions {
  readonly key: string;
  readonly clock: Clock;
  readonly leaseMs: number;
  readonly reporter: ErrorReporter;
  /** When the lease was asked for, on the monotonic clock. */
  readonly askedAt: number;
}

/** How long the end of the work waits for Redis to hear of it; after that the lease runs out by itself. */
const releaseMs = 1_000;

/**
 * Keeps one lease alive: asks at half time, and while Redis does not answer again and again. `signal` aborts
 * with LockLostError at once when somebody else has the lock, and otherwise shortly before Redis would let
 * somebody else have it: a Redis that is frozen or away cannot make the holder late.
 */
export class HeldLease {
  readonly #controller = new AbortController();
  readonly #options: HeldLeaseOptions;
  #lease: RedlockLease;
  #cancelExpiry: () => void = () => undefined;
  #cancelExtension: () => void = () => undefined;
  #extending: Promise<void> = Promise.resolve();
  #released = false;

  constructor(lease: RedlockLease, options: HeldLeaseOptions) {
    this.#lease = lease;
    this.#options = options;
    this.#plan(options.askedAt);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Never throws: the work under the lease is done, and its result is worth more than a tidy end. */
  async release(): Promise<void> {
    this.#released = true;
    this.#stopTimers();
    if (this.signal.aborted) return;
    const { reporter, key } = this.#options;
    try {
      const released = this.#extending.then(() => this.#lease.release());
      await within(releaseMs, (limit) => unlessAborted(released, limit));
    } catch (error) {
      reporter.report(await voteOf(error), { action: 'lock.release', severity: 'warning', lock: key });
    }
  }

  #plan(askedAt: number): void {
    const { clock, leaseMs } = this.#options;
    const left = askedAt + leaseMs - clock.monotonicMs();
    // Redis rounds to whole milliseconds and its clock may run a little faster than ours.
    const margin = Math.ceil(leaseMs * 0.02) + 2;
    this.#stopTimers();
    this.#cancelExpiry = clock.setTimer(left - margin, () => this.#lose(new Error('the lease ran out')));
    this.#cancelExtension = clock.setTimer(left - leaseMs / 2, () => {
      this.#extending = this.#extend();
    });
  }

  async #extend(): Promise<void> {
    const { clock, leaseMs } = this.#options;
    const pauseMs = Math.ceil(leaseMs / 20);
    while (!this.#released && !this.signal.aborted) {
      const askedAt = clock.monotonicMs();
      try {
        this.#lease = await this.#lease.extend(leaseMs);
        if (!this.#released && !this.signal.aborted) this.#plan(askedAt);
        return;
      } catch (cause) {
        if (await isTaken(cause)) return this.#lose(await voteOf(cause));
      }
      await delay(pauseMs, clock);
    }
  }

  #lose(cause: unknown): void {
    if (this.#released) return;
    this.#stopTimers();
    this.#controller.abort(new LockLostError(this.#options.key, { cause }));
  }

  #stopTimers(): void {
    this.#cancelExpiry();
    this.#cancelExtension();
  }
}

/**
 * Whether Redis said that the lock is somebody else's (or nobody's). Redlock throws one class for that and for
 * a Redis that does not answer; only the votes tell them apart.
 */
export async function isTaken(error: unknown): Promise<boolean> {
  return (await votesOf(error)).some((vote) => vote instanceof ResourceLockedError);
}

/** What Redis said, in place of Redlock's error: that one carries its clients, with their passwords. */
export async function voteOf(error: unknown): Promise<unknown> {
  const [vote] = await votesOf(error);
  return vote ? redisError(vote) : error;
}

async function votesOf(error: unknown): Promise<readonly Error[]> {
  if (!(error instanceof ExecutionError)) return [];
  const last = await error.attempts.at(-1);
  return last ? [...last.votesAgainst.values()] : [];
}
