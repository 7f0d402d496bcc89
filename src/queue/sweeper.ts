import { Queue, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import type { ErrorReporter } from '../instrumentation/error-reporter.ts';

/** Work that is done over and over, by one process at a time. Answers how many things it mended. */
export interface Chore {
  readonly everyMs: number;
  readonly run: () => Promise<number>;
}

export interface SweeperOptions {
  readonly commands: Redis;
  readonly connection: Redis;
  readonly prefix: string;
  readonly reporter: ErrorReporter;
  /** By name, which must stay the same from release to release. */
  readonly chores: Readonly<Record<string, Chore>>;
}

const queueName = 'turn-sweeps';
const kept = { removeOnComplete: { count: 10 }, removeOnFail: { count: 100 } };

/**
 * Finds what fell between two systems. Each chore is a BullMQ job scheduler, which any number of workers may set
 * up: one runs at a time over all processes. A chore that fails is reported, and comes again.
 */
export class Sweeper {
  readonly #chores: SweeperOptions['chores'];
  readonly #queue: Queue;
  readonly #worker: Worker;

  constructor({ commands, connection, prefix, reporter, chores }: SweeperOptions) {
    this.#chores = chores;
    this.#queue = new Queue(queueName, { connection: commands, prefix, skipWaitingForReady: true });
    this.#worker = new Worker(queueName, async ({ name }) => ({ mended: await chores[name]?.run() }), {
      connection,
      prefix,
      concurrency: 1,
      lockDuration: 60_000,
    });
    const report = (error: Error) => reporter.report(error, { action: 'sweeper', severity: 'warning' });
    this.#queue.on('error', report);
    this.#worker.on('error', report);
    this.#worker.on('failed', (_, error) => report(error));
  }

  async start(): Promise<void> {
    const entries = Object.entries(this.#chores);
    await Promise.all(
      entries.map(([name, { everyMs }]) =>
        this.#queue.upsertJobScheduler(name, { every: everyMs }, { name, opts: kept }),
      ),
    );
  }

  async close(): Promise<void> {
    await Promise.all([this.#worker.close(), this.#queue.close()]);
  }
}
