import { Queue } from 'bullmq';
import type { Redis } from 'ioredis';
import { ServiceUnavailableError } from '../errors.ts';
import type { ErrorReporter } from '../instrumentation/error-reporter.ts';
import { behindDelayMs, type TurnJobs } from '../ports/turn-jobs.ts';
import { judgeRedis, redisError } from '../redis/errors.ts';
import { type Clock, systemClock } from '../timing/clock.ts';
import type { WaitingTurn } from '../turn/stored-turn.ts';
import { jobName, payloadOf, queueName, turnJobId, turnJobOptions } from './turn-job.ts';

/** A job that is due later than anybody delays one: the clock of whoever delayed it is ahead. */
const farMs = behindDelayMs + 5_000;
/** BullMQ keeps delayed jobs by Unix ms times this. */
const scorePerMs = 0x1000;

/** For what loses a race as a matter of course: only a Redis that serves nobody is worth telling. */
const unlessAway = (error: unknown): void => {
  if (judgeRedis(error)) throw error;
};

/** Turns' jobs in BullMQ, by id. */
export class BullTurnJobs implements TurnJobs {
  readonly queue: Queue;
  readonly #redis: Redis;
  readonly #clock: Clock;

  /** `redis` must be ready and of the role `commands`; it stays the caller's. */
  constructor(redis: Redis, prefix: string, reporter: ErrorReporter, clock: Clock = systemClock) {
    this.#redis = redis;
    this.#clock = clock;
    this.queue = new Queue(queueName, { connection: redis, prefix, skipWaitingForReady: true });
    this.queue.on('error', (error) =>
      reporter.report(redisError(error), { action: 'queue', severity: 'warning' }),
    );
  }

  assertReachable(): void {
    const { status } = this.#redis;
    if (status === 'ready') return;
    const detail = `not connected (${status}); nothing was enqueued`;
    throw new ServiceUnavailableError('redis', detail, { effect: 'none' });
  }

  async add(turn: WaitingTurn, behind: boolean): Promise<void> {
    const options = { ...turnJobOptions, jobId: turnJobId(turn.id), delay: behind ? behindDelayMs : 0 };
    await this.#try(() => this.queue.add(jobName, payloadOf(turn.id), options));
  }

  async ensure(turn: WaitingTurn, { now }: { now: boolean }): Promise<'added' | 'woken' | 'there'> {
    return this.#try(async () => {
      const job = await this.queue.getJob(turnJobId(turn.id));
      if (!job) {
        await this.add(turn, false);
        return 'added';
      }
      const state = await job.getState();
      if (state === 'delayed' && (now || (await this.#isFar(turn.id)))) {
        // Loses against the job's own timer or another waker: then it is no longer delayed, which is the aim.
        await job.promote().catch(unlessAway);
        return 'woken';
      }
      if (state !== 'completed' && state !== 'failed') return 'there';
      // A spent job blocks its id while it is kept; the turn is still pending, so it was spent too early. Loses
      // against somebody who does the same: then the new job is there already, and running maybe.
      await job.remove().catch(unlessAway);
      await this.add(turn, false);
      return 'added';
    });
  }

  /** One command for a job that is delayed, as it is as a rule. */
  async wake(turn: WaitingTurn): Promise<void> {
    const backend = await this.queue.getBackend();
    const woken = await backend.promote(turnJobId(turn.id)).then(
      () => true,
      () => false,
    );
    if (!woken) await this.ensure(turn, { now: true });
  }

  /** Jobs that any worker may take, and those that are delayed; in one command. Throws ServiceUnavailableError. */
  async counts(): Promise<{ readonly ready: number; readonly delayed: number }> {
    return this.#try(async () => {
      const counts = await this.queue.getJobCounts('waiting', 'prioritized', 'delayed');
      const { waiting = 0, prioritized = 0, delayed = 0 } = counts;
      return { ready: waiting + prioritized, delayed };
    });
  }

  async close(): Promise<void> {
    await this.queue.close();
  }

  async #isFar(turnId: string): Promise<boolean> {
    const score = await this.#redis.zscore(this.queue.toKey('delayed'), turnJobId(turnId));
    return score !== null && Number(score) / scorePerMs > this.#clock.now() + farMs;
  }

  async #try<T>(fn: () => Promise<T>): Promise<T> {
    try {
      return await fn();
    } catch (error) {
      throw redisError(error);
    }
  }
}
