import { type Job, type Processor, Worker, type WorkerOptions } from 'bullmq';
import { backoffMs } from '../timing/backoff.ts';

/** How long a worker waits at most for Redis to call it, in seconds. */
const maxWaitS = 1;
/** Between two tries at a Redis that answers errors (full, loading, a replica); so it is back at work a second later. */
const retry = { firstMs: 100, maxMs: 1_000 };

/**
 * BullMQ's worker, but one that looks for jobs by itself every second. Redis calls one of the workers that wait,
 * and no other: when that one is frozen, cut off or killed right then, the call is lost. The loser is whoever
 * else waits, and does not look before its own wait is over: BullMQ's 5 s (`drainDelay`), or 10 s while a job is
 * delayed, as parked turns are. A worker without jobs costs Redis some six commands a second (5.9 measured over 30 s),
 * half of them the sweeper's: four schedulers and a BullMQ worker of its own.
 *
 * An error reply is no reason for BullMQ to wait: it would ask again at once, thousands of times a second.
 */
export class PollingWorker<Data, Result, Name extends string> extends Worker<Data, Result, Name> {
  #failures = 0;

  constructor(
    name: string,
    processor: Processor<Data, Result, Name>,
    options: Omit<WorkerOptions, 'drainDelay'>,
  ) {
    super(name, processor, { ...options, drainDelay: maxWaitS, runRetryDelay: retry.maxMs });
  }

  /** Bounds the waits that `drainDelay` does not: those until a delayed job is due. */
  override get maximumBlockTimeout(): number {
    return maxWaitS;
  }

  /** BullMQ's own pauses after a failed wait have no length of their own. */
  override async delay(ms?: number, aborter?: Parameters<Worker['delay']>[1]): Promise<void> {
    await super.delay(ms ?? this.#pauseMs(), aborter);
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
