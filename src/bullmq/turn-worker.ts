import { DelayedError, type Job, UnrecoverableError, WaitingError } from 'bullmq';
import type { Redis } from 'ioredis';
import { messageOf, NewerVersionError, ServiceUnavailableError } from '../errors.ts';
import { redisError } from '../redis/errors.ts';
import type { ClaimDeps } from '../worker/claim-turn.ts';
import { HeldTurns } from '../worker/held-turns.ts';
import type { WorkerState, WorkOptions } from '../worker/running-worker.ts';
import { type JobEnd, leaveToOthers, stillWaits, takeTurn } from '../worker/take-turn.ts';
import { closeWorker } from './close-worker.ts';
import { PollingWorker } from './polling-worker.ts';
import { parseJobData, queueName, type TurnJobData, type TurnJobResult } from './turn-job.ts';

export interface TurnWorkerOptions
  extends Required<Pick<WorkOptions, 'concurrency' | 'lockMs' | 'stalledCheckMs'>> {
  /** A connection of the role `worker`; it stays the caller's. */
  readonly connection: Redis;
  readonly prefix: string;
}

type TurnJob = Job<TurnJobData, TurnJobResult, string>;

/** A turn that has ended as an error: its job has failed and is not tried again, since the end is stored and stays. */
class FailedTurn extends UnrecoverableError {}

/**
 * Takes jobs and does with them what `takeTurn` says. `quiet` takes no new ones; `stop` grants what runs a grace, hands the
 * rest back to the queue for adoption, and closes. Losing a job's lock lets go of its turn at once.
 */
export class TurnWorker {
  readonly #deps: ClaimDeps;
  readonly #worker: PollingWorker<TurnJobData, TurnJobResult, string>;
  readonly #held: HeldTurns;

  constructor(deps: ClaimDeps, options: TurnWorkerOptions) {
    this.#deps = deps;
    this.#held = new HeldTurns(deps.clock);
    const { connection, prefix, concurrency, lockMs, stalledCheckMs } = options;
    // BullMQ passes its signal only to a function with three declared parameters.
    this.#worker = new PollingWorker(queueName, (job, token, signal) => this.#process(job, token, signal), {
      connection,
      prefix,
      concurrency,
      lockDuration: lockMs,
      stalledInterval: stalledCheckMs,
      // A job that stalls has lost its lock, on a busy machine as well: its turn is as good as before, and has limits of its own.
      maxStalledCount: Number.MAX_SAFE_INTEGER,
    });
    this.#worker.on('error', (error) => this.#report(error, 'worker'));
    this.#worker.on('failed', (job, error) => {
      // That a turn has ended as an error is told with its end.
      if (!(error instanceof FailedTurn))
        this.#report(error, 'turn.job', /^turn-([0-9a-f]{24})$/.exec(job?.id ?? '')?.[1]);
    });
    // The signal does not fire by itself when renewal fails: without this, two workers would carry one turn.
    this.#worker.on('lockRenewalFailed', (ids: string[]) => {
      for (const id of ids) this.#worker.cancelJob(id, 'lock-lost');
    });
  }

  get state(): WorkerState {
    return this.#held.state;
  }

  /** Turns that run now. */
  get active(): number {
    return this.#held.size;
  }

  /** Resolves once the worker can take jobs. */
  async ready(): Promise<void> {
    await this.#worker.waitUntilReady();
  }

  /** Takes no new jobs; what runs goes on. May be called twice. */
  quiet(): void {
    if (this.#held.quiet()) void this.#worker.pause(true);
  }

  /**
   * Ends the worker within about `graceMs`: running turns may finish until then, the rest is handed back to the
   * queue at once and goes on upstream. Returns the ids of those turns. One that cannot be handed back, since Redis does not
   * answer, is told and left to its lock. Throws IllegalStateError the second time.
   */
  async stop(graceMs: number): Promise<{ handedBack: readonly string[] }> {
    this.quiet();
    const { handedBack, left } = await this.#held.leave(graceMs);
    for (const turnId of left) this.#report(notGivenBack(turnId), 'turn.giveBack', turnId);
    await closeWorker(this.#worker, this.#deps.clock);
    return { handedBack };
  }

  /** Ends it without any grace, unless `stop` has. */
  async close(): Promise<void> {
    if (this.state !== 'stopped') await this.stop(0);
  }

  async #process(job: TurnJob, token?: string, lockLost?: AbortSignal): Promise<TurnJobResult> {
    const attempt = job.attemptsStarted;
    const turnId = turnIdOf(job);
    if (turnId instanceof NewerVersionError)
      return this.#end(job, token, leaveToOthers(this.#deps, { attempt }, turnId));
    const take = async (signal: AbortSignal) => {
      // Fetched while we were told to take no more: BullMQ hands it over, and nobody would abort it.
      const end: JobEnd =
        this.state === 'running'
          ? await takeTurn(this.#deps, { turnId, attempt }, signal)
          : { kind: 'hand-back' };
      return this.#end(job, token, end, turnId);
    };
    return this.#held.hold(turnId, take, lockLost);
  }

  async #end(job: TurnJob, token: string | undefined, end: JobEnd, turnId?: string): Promise<TurnJobResult> {
    switch (end.kind) {
      case 'complete':
        return { status: end.status };
      case 'fail':
        throw new FailedTurn(end.error.message);
      case 'lost':
        return { status: 'interrupted', reason: 'ownership-lost' };
      case 'hand-back':
        await job.moveToWait(token);
        throw new WaitingError();
      case 'delay':
        await job.moveToDelayed(this.#deps.clock.now() + end.ms, token);
        // Loses against its own timer or another waker: then it is awake.
        if (!(await stillWaits(this.#deps, end, turnId))) await job.promote().catch(() => undefined);
        throw new DelayedError();
    }
  }

  #report(error: unknown, action: string, turnId?: string): void {
    // Told by BullMQ for a job that another worker has taken over: expected after a lost lock.
    if (/Missing lock for job/.test(messageOf(error))) return;
    this.#deps.reporter.report(redisError(error), {
      action,
      severity: 'warning',
      owner: this.#deps.owner,
      ...(turnId === undefined ? {} : { turnId }),
    });
  }
}

const notGivenBack = (turnId: string) =>
  new ServiceUnavailableError(
    'redis',
    `the job of turn ${turnId} could not be given back in time; it goes on once its lock has run out`,
  );

/**
 * A job that somebody else wrote into the queue is refused, not guessed at, and not tried again; one of a newer release is
 * for a worker of that.
 */
function turnIdOf(job: Job): string | NewerVersionError {
  try {
    return parseJobData(job.data, String(job.id)).turnId;
  } catch (cause) {
    if (cause instanceof NewerVersionError) return cause;
    throw new UnrecoverableError(`job ${job.id} is none of a turn: ${messageOf(cause)}`);
  }
}
