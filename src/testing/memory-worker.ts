import type { ClaimDeps } from '../worker/claim-turn.ts';
import { HeldTurns } from '../worker/held-turns.ts';
import type { RunningWorker, WorkerState } from '../worker/running-worker.ts';
import { type JobEnd, stillWaits, takeTurn } from '../worker/take-turn.ts';
import type { MemoryJobs, TakenMemoryJob } from './memory-jobs.ts';

/** Takes jobs in memory and does with them what `takeTurn` says, as `bullmq/turn-worker.ts` does with BullMQ's. */
export class MemoryWorker implements Omit<RunningWorker, typeof Symbol.asyncDispose> {
  readonly #deps: ClaimDeps;
  readonly #jobs: MemoryJobs;
  readonly #hurried: () => boolean;
  readonly #concurrency: number;
  readonly #held: HeldTurns;
  readonly #unlisten: () => void;

  /** A worker that is `hurried` when it stops grants no grace. */
  constructor(deps: ClaimDeps, jobs: MemoryJobs, hurried: () => boolean, concurrency: number) {
    this.#deps = deps;
    this.#hurried = hurried;
    this.#jobs = jobs;
    this.#concurrency = concurrency;
    this.#held = new HeldTurns(deps.clock);
    this.#unlisten = jobs.onWaiting(() => this.#fill());
    this.#fill();
  }

  get state(): WorkerState {
    return this.#held.state;
  }

  get active(): number {
    return this.#held.size;
  }

  quiet(): void {
    this.#held.quiet();
    this.#unlisten();
  }

  async stop(deadlineMs = 10_000): Promise<{ handedBack: readonly string[] }> {
    this.#unlisten();
    const { handedBack } = await this.#held.leave(this.#hurried() ? 0 : deadlineMs);
    return { handedBack };
  }

  #fill(): void {
    while (this.state === 'running' && this.active < this.#concurrency) {
      const job = this.#jobs.take();
      if (!job) return;
      void this.#held.hold(job.turnId, (signal) => this.#process(job, signal)).then(() => this.#fill());
    }
  }

  async #process(job: TakenMemoryJob, signal: AbortSignal): Promise<void> {
    try {
      await this.#end(job, await takeTurn(this.#deps, job, signal));
    } catch (error) {
      job.retry();
      const { reporter, owner } = this.#deps;
      reporter.report(error, { action: 'turn.job', severity: 'warning', owner, turnId: job.turnId });
    }
  }

  async #end(job: TakenMemoryJob, end: JobEnd): Promise<void> {
    switch (end.kind) {
      case 'complete':
      case 'lost':
        return job.end('completed');
      case 'fail':
        return job.end('failed');
      case 'hand-back':
        return job.handBack();
      case 'delay':
        job.delay(end.ms);
        if (!(await stillWaits(this.#deps, end, job.turnId))) await this.#jobs.wake({ id: job.turnId });
    }
  }
}
