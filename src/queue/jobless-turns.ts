import type { ErrorReporter } from '../instrumentation/error-reporter.ts';
import type { Clock } from '../timing/clock.ts';
import type { TurnStore } from '../turn/ports.ts';
import type { StoredTurn } from '../turn/stored-turn.ts';
import type { TurnJobs } from './turn-jobs.ts';

export interface JoblessOptions {
  readonly store: TurnStore;
  readonly jobs: TurnJobs;
  readonly clock: Clock;
  readonly reporter: ErrorReporter;
  /** Younger turns are left alone: their enqueue may be under way. */
  readonly minAgeMs: number;
}

/** Pending turns looked at in one sweep, oldest first. */
const batch = 500;
/** Turns from the future by so much are looked at too: the clock of whoever enqueued them is ahead of ours. */
const aheadMs = 24 * 3_600_000;

/**
 * Gives a job to every turn that is stored and has none: its enqueuer died, Redis lost its data, or the job was
 * spent while the database was away. Wakes the job of a turn with a wish (cancel, answer) that nobody has acted
 * on. Answers how many jobs were added or woken; errors are reported per turn.
 */
export async function giveJobs({ store, jobs, clock, reporter, minAgeMs }: JoblessOptions): Promise<number> {
  let mended = 0;
  const now = clock.now();
  for (const turn of await store.pending(now + aheadMs, batch)) {
    if (Math.abs(now - turn.createdAt) < minAgeMs) continue;
    try {
      if ((await jobs.ensure(turn, { now: hasWish(turn) })) !== 'there') mended += 1;
    } catch (error) {
      reporter.report(error, { action: 'sweeper.turn', severity: 'warning', turnId: turn.id });
    }
  }
  return mended;
}

/** A turn that runs has an owner, who hears of wishes by himself; ours are those whose job waits. */
const hasWish = ({ run, prompts }: StoredTurn): boolean =>
  run.cancelRequestedAt !== undefined ||
  prompts.some(({ state, answer }) => state === 'open' && answer !== undefined);
