import type { ErrorReporter } from '../instrumentation/error-reporter.ts';
import type { Clock } from '../timing/clock.ts';
import type { TurnStore } from '../turn/ports.ts';
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

/**
 * Gives a job to every turn that is stored and has none: its enqueuer died, Redis lost its data, or the job was
 * spent while the database was away. A wish (cancel, answer) of such a turn is acted on with it. Answers how many
 * jobs were added; errors are reported per turn.
 */
export async function giveJobs({ store, jobs, clock, reporter, minAgeMs }: JoblessOptions): Promise<number> {
  let added = 0;
  for (const turn of await store.pending(clock.now() - minAgeMs, batch)) {
    try {
      if ((await jobs.ensure(turn, { now: false })) === 'added') added += 1;
    } catch (error) {
      reporter.report(error, { action: 'sweeper.turn', severity: 'warning', turnId: turn.id });
    }
  }
  return added;
}
