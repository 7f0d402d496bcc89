import type { ErrorReporter } from '../instrumentation/error-reporter.ts';
import type { TurnJobs } from '../ports/turn-jobs.ts';
import type { TurnQueue } from '../ports/turn-queue.ts';
import type { TurnStore } from '../ports/turn-store.ts';
import type { Clock } from '../timing/clock.ts';
import type { PendingTurn } from '../turn/stored-turn.ts';

export interface MissingJobsOptions {
  readonly store: Pick<TurnStore, 'pending' | 'unannounced' | 'cancel'>;
  readonly queue: Pick<TurnQueue, 'sendNow'>;
  /** Which turns need one. */
  readonly of: 'pending' | 'unannounced';
  readonly jobs: TurnJobs;
  readonly clock: Clock;
  readonly reporter: ErrorReporter;
  /** Younger turns are left alone: their enqueue may be under way. */
  readonly minAgeMs: number;
}

/** Pending turns read at once, and pages in one sweep: however many wait, a sweep has an end. */
const pageSize = 500;
const maxPages = 4;
/** Turns from the future by so much are looked at too: the clock of whoever enqueued them is ahead of ours. */
const aheadMs = 24 * 3_600_000;

/**
 * Gives a job to every turn that needs one and has none: its enqueuer died, Redis lost its data, or the job was
 * spent while the database was away. Those are the pending ones, and those whose end nobody has announced yet. Asks
 * for the end of what a waiting turn was to interrupt. Wakes the job of a turn with a cancel or an answer that nobody has acted on. Each sweep goes on where the last one of this process stopped, oldest first, and begins anew at the end: no
 * number of old turns that stay pending keeps it from the younger ones.
 */
export class MissingJobs {
  readonly #options: MissingJobsOptions;
  #after: PendingTurn | undefined;

  constructor(options: MissingJobsOptions) {
    this.#options = options;
  }

  /** Returns how many jobs were added or woken; errors are reported per turn. Throws what the store throws. */
  async sweep(): Promise<number> {
    const { store, of, clock } = this.#options;
    let repaired = 0;
    for (let page = 0; page < maxPages; page += 1) {
      const now = clock.now();
      const turns = await store[of](now + aheadMs, pageSize, this.#after);
      for (const turn of turns) if (await this.#giveJob(turn, now)) repaired += 1;
      this.#after = turns.length < pageSize ? undefined : turns.at(-1);
      if (!this.#after) break;
    }
    return repaired;
  }

  /** Whoever sent it now died before he could place it, or ask for the end of what runs. */
  async #sendNow({ id, sendNow, interrupts }: PendingTurn): Promise<void> {
    const { queue, store } = this.#options;
    const target = sendNow ? (await queue.sendNow(id)).interrupts : interrupts;
    if (target !== undefined) await store.cancel(target, id);
  }

  async #giveJob(turn: PendingTurn, now: number): Promise<boolean> {
    const { jobs, reporter, minAgeMs } = this.#options;
    if (Math.abs(now - turn.createdAt) < minAgeMs) return false;
    try {
      await this.#sendNow(turn);
      // A turn that runs has an owner, who hears of them by himself; ours are those whose job waits.
      return (await jobs.ensure(turn, { now: turn.hasControl })) !== 'there';
    } catch (error) {
      reporter.report(error, { action: 'sweeper.turn', severity: 'warning', turnId: turn.id });
      return false;
    }
  }
}
