import { type Job, type Processor, Worker, type WorkerOptions } from 'bullmq';
import type { Redis } from 'ioredis';
import { backoffMs } from '../timing/backoff.ts';
import { sparingBackend } from './sparing-backend.ts';

/** How long a worker waits at most for Redis to call it, in seconds. */
const maxWaitS = 2;
/** Between two tries at a Redis that answers errors (full, loading, a replica); so it is back at work a second later. */
const retry = { firstMs: 100, maxMs: 1_000 };

export interface PollingWorkerOptions extends Omit<WorkerOptions, 'drainDelay' | 'connection'> {
  /** A connection of the role `worker`; it stays the caller's. */
  readonly connection: Redis;
}

/**
 * BullMQ's worker, but one that looks for jobs by itself every two seconds. Redis calls one of the workers that wait,
 * and no other: when that one is frozen, cut off or killed right then, the call is lost. The loser is whoever
 * else waits, and does not look before its own wait is over: BullMQ's 5 s (`drainDelay`), or 10 s while a job is
 * delayed, as turns behind another one are. While there is no job, a wait and a read are two commands (`sparing-backend.ts`).
 *
 * An error reply is no reason for BullMQ to wait: it would ask again at once, thousands of times a second.
 */
export class PollingWorker<Data, Result, Name extends string> extends Worker<Data, Result, Name> {
  #failures = 0;

  constructor(name: string, processor: Processor<Data, Result, Name>, options: PollingWorkerOptions) {
    const bounds = { drainDelay: maxWaitS, runRetryDelay: retry.maxMs };
    super(name, processor, { ...options, ...bounds }, sparingBackend(options.connection));
  }

  /** Bounds the waits that `drainDelay` does not: those until a delayed job is due. */
  override get maximumBlockTimeout(): number {
    return maxWaitS;
  }

  /** BullMQ's own pauses after a failed wait have no length of their own. */
  override async delay(ms?: number, aborter?: Parameters<Worker['delay']>[1]): Promise<void> {
    await super.delay(ms ?? this.#pauseMs(), aborter);
  }

  /**
   * For one whose `close` does not come to an end: its timers and its blocking connection would keep the process alive. Jobs
   * that wait for Redis fail with the connection that was given to it, which is the caller's to cut.
   */
  abandon(): void {
    void this.lockManager.close();
    void this.backend.close(true).catch(() => undefined);
  }

  protected override async moveToActive(token: string, name?: string): Promise<Job<Data, Result, Name>> {
    try {
      const job = await super.moveToActive(token, name);
      this.#failures = 0;
      return job;
    } catch (error) {
      if (!this.closing) await this.delay();
      throw error;
    }
  }

  #pauseMs(): number {
    this.#failures += 1;
    return backoffMs(this.#failures - 1, retry);
  }
}
