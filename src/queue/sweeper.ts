import { Queue, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import type { ErrorReporter } from '../instrumentation/error-reporter.ts';
import type { Clock } from '../timing/clock.ts';
import type { TurnStore } from '../turn/ports.ts';
import type { TurnJobs } from './turn-jobs.ts';

export interface SweeperOptions {
  readonly commands: Redis;
  readonly connection: Redis;
  readonly prefix: string;
  readonly store: TurnStore;
  readonly jobs: TurnJobs;
  readonly clock: Clock;
  readonly reporter: ErrorReporter;
  /** Default 15 s. */
  readonly everyMs?: number;
  /** Younger turns are left alone: their enqueue may be under way. Default 10 s. */
  readonly minAgeMs?: number;
}

const queueName = 'turn-sweeps';
const schedulerId = 'sweep';
/** Pending turns looked at in one sweep, oldest first. */
const batch = 500;

/**
 * Finds what fell between two systems: a turn that is stored and has no job, because its enqueuer died, Redis
 * lost its data, or the job was spent while the database was away. One sweep at a time over all processes: it
 * is a BullMQ job scheduler, which any number of workers may set up.
 */
export class Sweeper {
  readonly #options: SweeperOptions;
  readonly #queue: Queue;
  readonly #worker: Worker;

  constructor(options: SweeperOptions) {
    this.#options = options;
    const { commands, connection, prefix, reporter } = options;
    this.#queue = new Queue(queueName, { connection: commands, prefix, skipWaitingForReady: true });
    this.#worker = new Worker(queueName, () => this.sweep(), {
      connection,
      prefix,
      concurrency: 1,
      lockDuration: 60_000,
    });
    const report = (error: Error) => reporter.report(error, { action: 'sweeper', severity: 'warning' });
    this.#queue.on('error', report);
    this.#worker.on('error', report);
  }

  async start(): Promise<void> {
    const options = { removeOnComplete: { count: 10 }, removeOnFail: { count: 100 } };
    await this.#queue.upsertJobScheduler(
      schedulerId,
      { every: this.#options.everyMs ?? 15_000 },
      { name: 'sweep', opts: options },
    );
  }

  /** One sweep; answers how many jobs were added. Errors are reported per turn. */
  async sweep(): Promise<{ added: number }> {
    const { store, jobs, clock, reporter, minAgeMs = 10_000 } = this.#options;
    let added = 0;
    for (const turn of await store.pending(clock.now() - minAgeMs, batch)) {
      try {
        if ((await jobs.ensure(turn, { now: false })) === 'added') added += 1;
      } catch (error) {
        reporter.report(error, { action: 'sweeper.turn', severity: 'warning', turnId: turn.id });
      }
    }
    return { added };
  }

  async close(): Promise<void> {
    await Promise.all([this.#worker.close(), this.#queue.close()]);
  }
}
