import { behindDelayMs, type TurnJobs } from '../ports/turn-jobs.ts';
import { backoffMs } from '../timing/backoff.ts';
import type { Clock } from '../timing/clock.ts';
import type { WaitingTurn } from '../turn/stored-turn.ts';

type JobState = 'waiting' | 'delayed' | 'active' | 'completed' | 'failed';

interface MemoryJob {
  readonly turnId: string;
  state: JobState;
  /** How many times it was taken. */
  started: number;
  failures: number;
  cancelTimer: () => void;
}

/** A job as its taker has it. Each is called once, and ends the taking. */
export interface TakenMemoryJob {
  readonly turnId: string;
  readonly attempt: number;
  end(how: 'completed' | 'failed'): void;
  /** Comes again after that time, or when it is woken. */
  delay(ms: number): void;
  /** Somebody else may have it at once. */
  handBack(): void;
  /** Tried again some times; the last one fails. */
  retry(): void;
}

const attempts = 5;
const failedBackoff = { firstMs: 500, maxMs: 10_000 };

/** Turns' jobs in memory, first come first served. */
export class MemoryJobs implements TurnJobs {
  readonly #jobs = new Map<string, MemoryJob>();
  readonly #takers = new Set<() => void>();
  readonly #idle = new Set<() => void>();
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  assertReachable(): void {}

  async add({ id }: Pick<WaitingTurn, 'id'>, behind: boolean): Promise<void> {
    if (this.#jobs.has(id)) return;
    const job: MemoryJob = {
      turnId: id,
      state: 'waiting',
      started: 0,
      failures: 0,
      cancelTimer: () => undefined,
    };
    this.#jobs.set(id, job);
    if (behind) this.#delay(job, behindDelayMs);
    else this.#wait(job);
  }

  async ensure(
    turn: Pick<WaitingTurn, 'id'>,
    { now }: { now: boolean },
  ): Promise<'added' | 'woken' | 'there'> {
    const job = this.#jobs.get(turn.id);
    if (job?.state === 'delayed' && now) {
      this.#wait(job);
      return 'woken';
    }
    if (job && job.state !== 'completed' && job.state !== 'failed') return 'there';
    this.#jobs.delete(turn.id);
    await this.add(turn, false);
    return 'added';
  }

  async wake(turn: Pick<WaitingTurn, 'id'>): Promise<void> {
    await this.ensure(turn, { now: true });
  }

  state(turnId: string): JobState | undefined {
    return this.#jobs.get(turnId)?.state;
  }

  /** The job that has waited longest. */
  take(): TakenMemoryJob | undefined {
    const job = [...this.#jobs.values()].find(({ state }) => state === 'waiting');
    if (!job) return undefined;
    job.state = 'active';
    job.started += 1;
    return this.#taken(job);
  }

  /** Calls `look` when there may be a job to take, until the returned function is called. */
  onWaiting(look: () => void): () => void {
    this.#takers.add(look);
    return () => void this.#takers.delete(look);
  }

  /** Resolves when no job waits or runs; those that are delayed count as neither. */
  async settled(): Promise<void> {
    while ([...this.#jobs.values()].some(({ state }) => state === 'waiting' || state === 'active'))
      await new Promise<void>((resolve) => this.#idle.add(resolve));
  }

  #taken(job: MemoryJob): TakenMemoryJob {
    return {
      turnId: job.turnId,
      attempt: job.started,
      end: (how) => this.#set(job, how),
      delay: (ms) => this.#delay(job, ms),
      handBack: () => this.#wait(job),
      retry: () => {
        job.failures += 1;
        if (job.failures < attempts) this.#delay(job, backoffMs(job.failures - 1, failedBackoff));
        else this.#set(job, 'failed');
      },
    };
  }

  #delay(job: MemoryJob, ms: number): void {
    this.#set(job, 'delayed');
    job.cancelTimer = this.#clock.setTimer(ms, () => this.#wait(job));
  }

  #wait(job: MemoryJob): void {
    this.#set(job, 'waiting');
    // A moment later, as from another process: whoever adds it goes on first.
    setImmediate(() => {
      for (const look of this.#takers) look();
    });
  }

  #set(job: MemoryJob, state: JobState): void {
    job.cancelTimer();
    job.state = state;
    for (const resolve of this.#idle) resolve();
    this.#idle.clear();
  }
}
