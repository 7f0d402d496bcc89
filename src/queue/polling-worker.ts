import { type Processor, Worker, type WorkerOptions } from 'bullmq';

/** How long a worker waits at most for Redis to call it, in seconds. */
const maxWaitS = 1;

/**
 * BullMQ's worker, but one that looks for jobs by itself every second. Redis calls one of the workers that wait,
 * and no other: when that one is frozen, cut off or killed right then, the call is lost. The loser is whoever
 * else waits, and does not look before its own wait is over: BullMQ's 5 s (`drainDelay`), or 10 s while a job is
 * delayed, as parked turns are. A worker without jobs costs Redis two commands a second: the wait and the look.
 */
export class PollingWorker<Data, Result, Name extends string> extends Worker<Data, Result, Name> {
  constructor(
    name: string,
    processor: Processor<Data, Result, Name>,
    options: Omit<WorkerOptions, 'drainDelay'>,
  ) {
    super(name, processor, { ...options, drainDelay: maxWaitS });
  }

  /** Bounds the waits that `drainDelay` does not: those until a delayed job is due. */
  override get maximumBlockTimeout(): number {
    return maxWaitS;
  }
}
