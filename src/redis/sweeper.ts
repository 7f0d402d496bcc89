import type { Redis } from 'ioredis';
import type { ErrorReporter } from '../instrumentation/error-reporter.ts';
import { type Clock, systemClock } from '../timing/clock.ts';
import { within } from '../timing/time-limit.ts';
import { unlessAborted } from '../timing/unless-aborted.ts';
import { redisError } from './errors.ts';
import { RedisScript } from './script.ts';

/** Returns how many things it repaired. May run in two processes at once: see `Sweeper`. */
export type Chore = () => Promise<number>;

export interface SweeperOptions {
  /** A connection of the role `commands`; it stays the caller's. */
  readonly redis: Redis;
  readonly prefix: string;
  /** Name of this worker; the lease holds it for people who look. */
  readonly owner: string;
  readonly reporter: ErrorReporter;
  /** How often all chores are done by one of the workers of a queue. */
  readonly everyMs: number;
  /** By name, for reports. Done one after the other. */
  readonly chores: Readonly<Record<string, Chore>>;
  readonly clock?: Clock;
}

/** How much longer than the usual time somebody who dies in the middle of a sweep holds up the next one. */
const graceMs = 10_000;
/**
 * Takes the lease when nobody has it. One that would never end, or later than any holder asked for (Redis was restored, or
 * somebody has set the key by hand), would stop every sweep for good: it ends as if it were taken now.
 */
const claimScript = new RedisScript(
  'turnsClaimSweep',
  1,
  `
  if redis.call('set', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
  local left = redis.call('pttl', KEYS[1])
  if left == -1 or left > tonumber(ARGV[2]) then redis.call('pexpire', KEYS[1], ARGV[2]) end
  return 0`,
);
/** How long `close` waits for a sweep under way and for Redis. */
const closeMs = 1_000;

/**
 * Finds what fell between two systems. Every worker asks for the lease on the next sweep with one command; who gets it
 * sweeps. Nothing else is kept, so a Redis that lost its data is swept at the next read, and no clock counts but that
 * of Redis. A holder that dies is followed by another worker after `2 * everyMs` + 10 s at most. One that is frozen, or
 * slower than that, sweeps beside its successor: each chore must bear that. One that fails is reported, and comes again.
 */
export class Sweeper {
  readonly #options: SweeperOptions;
  readonly #clock: Clock;
  readonly #lease: string;
  #heldUntil = Number.NEGATIVE_INFINITY;
  #sweeping: Promise<void> = Promise.resolve();
  #cancelNext: () => void = () => undefined;
  #closed = false;

  constructor(options: SweeperOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#lease = `${options.prefix}:sweeper`;
  }

  /** Resolves once Redis has been asked; the first sweep goes on. Errors: ServiceUnavailableError('redis'). */
  async start(): Promise<void> {
    const mine = await this.#claim();
    this.#goOn(mine ? this.#sweep() : Promise.resolve());
  }

  /** No chore begins after this; one under way is waited for, a second at most, and the lease is given back. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelNext();
    const left = this.#sweeping.then(() => this.#giveBack());
    await within(closeMs, (limit) => unlessAborted(left, limit)).catch(() => undefined);
  }

  #goOn(sweeping: Promise<void>): void {
    this.#sweeping = sweeping
      .catch((error) => this.#report(error))
      .then(() => {
        if (this.#closed) return;
        this.#cancelNext = this.#clock.setTimer(this.#options.everyMs, () => this.#goOn(this.#check()));
      });
  }

  async #check(): Promise<void> {
    if (await this.#claim()) await this.#sweep();
  }

  async #claim(): Promise<boolean> {
    const { redis, owner, everyMs } = this.#options;
    const holdMs = everyMs + graceMs;
    // The lease counts from the question, not from the answer.
    const heldUntil = this.#clock.monotonicMs() + holdMs;
    try {
      const isMine = (await claimScript.run(redis, [this.#lease], [owner, holdMs])) === 1;
      if (isMine) this.#heldUntil = heldUntil;
      return isMine;
    } catch (error) {
      throw redisError(error);
    }
  }

  async #sweep(): Promise<void> {
    const { redis, everyMs, chores } = this.#options;
    const since = this.#clock.monotonicMs();
    for (const [name, run] of Object.entries(chores)) {
      if (this.#closed) return;
      await run().catch((error: unknown) => this.#report(error, name));
    }
    const now = this.#clock.monotonicMs();
    // Whoever was slower than his lease leaves that of his successor alone.
    if (this.#closed || now >= this.#heldUntil) return;
    // A little less than the time to the next read, or that one would find it held.
    const leftMs = Math.max(1, Math.round(0.9 * everyMs - (now - since)));
    this.#heldUntil = now + leftMs;
    await redis.pexpire(this.#lease, leftMs);
  }

  async #giveBack(): Promise<void> {
    if (this.#clock.monotonicMs() < this.#heldUntil) await this.#options.redis.del(this.#lease);
  }

  /** What a sweep meets after `close`, when connections go, is told by nobody, and found again by the next one. */
  #report(error: unknown, chore?: string): void {
    if (this.#closed) return;
    const facts = chore === undefined ? {} : { chore };
    this.#options.reporter.report(redisError(error), { action: 'sweeper', severity: 'warning', ...facts });
  }
}
