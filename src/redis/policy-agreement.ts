import { createHash } from 'node:crypto';
import type { Redis } from 'ioredis';
import { InvalidConfigError } from '../errors.ts';
import type { ErrorReporter } from '../instrumentation/error-reporter.ts';
import { type Clock, systemClock } from '../timing/clock.ts';
import { within } from '../timing/time-limit.ts';
import { unlessAborted } from '../timing/unless-aborted.ts';
import type { Policies, TurnPolicy } from '../turn/policy.ts';
import { redisError } from './errors.ts';

/** How often each worker says what its policies are, and how long that is believed. */
const everyMs = 60_000;
const keptMs = 150_000;
/** How long `close` waits for Redis; what it did not hear is forgotten after `keptMs`. */
const closeMs = 1_000;

export interface PolicyAgreementOptions {
  readonly redis: Redis;
  readonly prefix: string;
  /** Name of this worker. */
  readonly owner: string;
  readonly reporter: ErrorReporter;
  readonly policies: Policies<never>;
  readonly clock?: Clock;
}

/**
 * Notices workers of one queue whose policies share a name and differ: which one a turn runs under would then be chance.
 * Each worker leaves a fingerprint per policy and looks at those of the others; a difference is reported, and changes
 * nothing, since during a deploy it is as it should be. Functions are compared by their text. Never throws.
 */
export class PolicyAgreement {
  readonly #options: PolicyAgreementOptions;
  readonly #clock: Clock;
  #cancelNext: () => void = () => undefined;
  #closed = false;

  constructor(options: PolicyAgreementOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  async start(): Promise<void> {
    for (const [name, policy] of Object.entries<TurnPolicy<never>>(this.#options.policies))
      await this.#say(name, policy);
    if (this.#closed) return;
    this.#cancelNext = this.#clock.setTimer(everyMs, () => void this.start());
  }

  /** What this worker has said is taken back, in a second at most, so that whoever comes next is not compared with the dead. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelNext();
    const { redis, policies, owner } = this.#options;
    const taken = Promise.allSettled(Object.keys(policies).map((name) => redis.hdel(this.#key(name), owner)));
    await within(closeMs, (limit) => unlessAborted(taken, limit)).catch(() => undefined);
  }

  async #say(name: string, policy: TurnPolicy<never>): Promise<void> {
    const { redis, owner, reporter } = this.#options;
    const key = this.#key(name);
    const fingerprint = fingerprintOf(policy);
    const now = this.#clock.now();
    try {
      const said = await redis.hgetall(key);
      await redis.hset(key, owner, `${fingerprint} ${now}`);
      await redis.pexpire(key, keptMs);
      for (const [other, [theirs, at]] of Object.entries(said).map(
        ([who, what]) => [who, what.split(' ')] as const,
      )) {
        // A worker that died has taken nothing back. What has no time is nobody's word, and would be told for ever.
        if (!(Math.abs(now - Number(at)) <= keptMs)) await redis.hdel(key, other);
        else if (theirs !== fingerprint) return this.#tell(name, other);
      }
    } catch (error) {
      reporter.report(redisError(error), { action: 'worker.policies', severity: 'warning', owner });
    }
  }

  #tell(name: string, other: string): void {
    const { owner, reporter } = this.#options;
    const problem = `differs from what the worker ${other} has under that name; which one a turn runs under is chance`;
    const error = new InvalidConfigError(`policies.${name}`, problem);
    reporter.report(error, { action: 'worker.policies', severity: 'warning', owner });
  }

  #key(name: string): string {
    return `${this.#options.prefix}:policy:${name}`;
  }
}

/** The same for the same policy, however its keys are ordered. */
export function fingerprintOf(policy: TurnPolicy<never>): string {
  return createHash('sha256')
    .update(JSON.stringify(plain(policy)))
    .digest('base64url')
    .slice(0, 22);
}

function plain(value: unknown): unknown {
  if (typeof value === 'function') return `function ${String(value)}`;
  if (typeof value === 'number') return String(value);
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).filter(([, each]) => each !== undefined);
  return entries.sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, each]) => [key, plain(each)]);
}
