import { Queue } from 'bullmq';
import type { Redis } from 'ioredis';
import type { ErrorReporter } from '../instrumentation/error-reporter.ts';
import { type Clock, systemClock } from '../timing/clock.ts';
import { closeWorker } from './close-worker.ts';
import { PollingWorker } from './polling-worker.ts';

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
  readonly clock?: Clock;
}

const queueName = 'turn-sweeps';
const kept = { removeOnComplete: { count: 10 }, removeOnFail: { count: 100 } };

/**
 * Finds what fell between two systems. Each chore is a BullMQ job scheduler, which any number of workers may set
 * up: one runs at a time over all processes. A chore that fails is reported, and comes again. Every worker looks
 * after the schedulers as long as it lives: a Redis that lost its data has lost them too, and one that was set by
 * a clock far ahead would sleep until that time has come.
 */
export class Sweeper {
  readonly #chores: SweeperOptions['chores'];
  readonly #queue: Queue;
  readonly #worker: PollingWorker<unknown, { mended: number | undefined }, string>;
  readonly #clock: Clock;
  readonly #report: (error: unknown) => void;
  #arranging: Promise<void> = Promise.resolve();
  #cancelNext: () => void = () => undefined;
  #closed = false;

  constructor({ commands, connection, prefix, reporter, chores, clock = systemClock }: SweeperOptions) {
    this.#chores = chores;
    this.#clock = clock;
    this.#queue = new Queue(queueName, { connection: commands, prefix, skipWaitingForReady: true });
    this.#worker = new PollingWorker(queueName, async ({ name }) => ({ mended: await chores[name]?.run() }), {
      connection,
      prefix,
      concurrency: 1,
      lockDuration: 60_000,
    });
    this.#report = (error) => reporter.report(error, { action: 'sweeper', severity: 'warning' });
    this.#queue.on('error', this.#report);
    this.#worker.on('error', this.#report);
    this.#worker.on('failed', (_, error) => this.#report(error));
  }

  async start(): Promise<void> {
    const arranged = this.#arrange();
    this.#arranging = arranged.catch(() => undefined);
    await arranged;
    if (!this.#closed) this.#arrangeLater();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelNext();
    await this.#arranging;
    await Promise.all([closeWorker(this.#worker, this.#clock), this.#queue.close()]);
  }

  async #arrange(): Promise<void> {
    for (const [name, { everyMs }] of Object.entries(this.#chores)) {
      const known = await this.#queue.getJobScheduler(name);
      // An upsert keeps the time of the next run, however far away it is.
      if ((known?.next ?? 0) > this.#clock.now() + 2 * everyMs) await this.#queue.removeJobScheduler(name);
      await this.#queue.upsertJobScheduler(name, { every: everyMs }, { name, opts: kept });
    }
  }

  #arrangeLater(): void {
    const everyMs = Math.min(...Object.values(this.#chores).map((chore) => chore.everyMs));
    this.#cancelNext = this.#clock.setTimer(everyMs, () => {
      this.#arranging = this.#arrange()
        .catch(this.#report)
        .then(() => {
          if (!this.#closed) this.#arrangeLater();
        });
    });
  }
}
