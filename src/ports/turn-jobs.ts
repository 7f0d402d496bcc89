import type { WaitingTurn } from '../turn/stored-turn.ts';

/** How long a turn that is not its conversation's head sleeps at most before it looks by itself: the worst case. */
export const behindDelayMs = 30_000;

/**
 * The jobs that carry turns to workers. Every method is idempotent: adding a job that is there and waking one that runs
 * change nothing. Errors: ServiceUnavailableError('redis').
 */
export interface TurnJobs {
  /** Throws ServiceUnavailableError with the effect `none` while no job could be added. Asks nobody. */
  assertReachable(): void;
  /** Adds the job of a turn; delayed when an earlier turn of its conversation comes first. */
  add(turn: WaitingTurn, behind: boolean): Promise<void>;
  /**
   * Makes sure that a pending turn has a job: added when it is absent or spent, woken when it is due further away than
   * any delay of ours. `now`: one that is delayed is woken in any case.
   */
  ensure(turn: WaitingTurn, options: { readonly now: boolean }): Promise<'added' | 'woken' | 'there'>;
  /** The same as `ensure` with `now`, cheaper for a job that is delayed. */
  wake(turn: WaitingTurn): Promise<void>;
}
