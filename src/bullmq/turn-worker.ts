import { DelayedError, type Job, UnrecoverableError, WaitingError } from 'bullmq';
import type { Redis } from 'ioredis';
import {
  ForeignConversationError,
  IllegalStateError,
  InvalidConfigError,
  isRetryable,
  messageOf,
  TurnAbortError,
  TurnFailedError,
  UnknownPolicyError,
} from '../errors.ts';
import { endDeletedConversation } from '../finish/conversation-deleted.ts';
import { announceEnd } from '../finish/unannounced-end.ts';
import { onlyTraceContext } from '../instrumentation/safe-tracer.ts';
import type { TurnJobs } from '../ports/turn-jobs.ts';
import { redisError } from '../redis/errors.ts';
import type { TurnDeps } from '../run/deps.ts';
import { backoffMs } from '../timing/backoff.ts';
import { delay } from '../timing/clock.ts';
import { persevere } from '../timing/persevere.ts';
import { within } from '../timing/time-limit.ts';
import type { TurnOutcome } from '../turn/outcome.ts';
import { type CompiledPolicy, compilePolicy } from '../turn/policy.ts';
import type { TurnFailure, WaitingTurn } from '../turn/stored-turn.ts';
import { runTurn } from '../worker/run-turn.ts';
import type { WorkerState, WorkOptions } from '../worker/running-worker.ts';
import { closeWorker } from './close-worker.ts';
import { PollingWorker } from './polling-worker.ts';
import { parseJobData, queueName, type TurnJobData, type TurnJobResult } from './turn-job.ts';
import { behindDelayMs } from './turn-jobs.ts';

export const defaultLockMs = 15_000;

export interface TurnWorkerOptions extends Pick<WorkOptions, 'concurrency' | 'lockMs' | 'stalledCheckMs'> {
  /** A connection of the role `worker`; it stays the caller's. */
  readonly connection: Redis;
  readonly prefix: string;
  readonly jobs: TurnJobs;
  /** The policy of that name, for that turn. Throws UnknownPolicyError while another worker may know it. */
  readonly policy: (name: string, turnId: string) => CompiledPolicy;
}

interface Held {
  readonly controller: AbortController;
  readonly turnId: string;
}

/** A turn that has ended as an error: its job has failed and is not tried again, since the end is stored and stays. */
class FailedTurn extends UnrecoverableError {}

const leaveBackoff = { firstMs: 500, maxMs: 10_000, jitter: 0.3 };
const wakeRetry = { firstMs: 200, maxMs: 2_000, jitter: 0.3 };
const awayBackoff = { firstMs: 500, maxMs: 30_000, jitter: 0.3 };

/**
 * Takes jobs and carries their turns. `quiet` takes no new ones; `stop` grants what runs a grace, hands the
 * rest back to the queue for adoption, and closes. Losing a job's lock lets go of its turn at once.
 */
export class TurnWorker {
  readonly #deps: TurnDeps;
  readonly #options: TurnWorkerOptions;
  readonly #worker: PollingWorker<TurnJobData, TurnJobResult, string>;
  readonly #held = new Map<string, Held>();
  #state: WorkerState = 'running';

  constructor(deps: TurnDeps, options: TurnWorkerOptions) {
    this.#deps = deps;
    this.#options = options;
    const { connection, prefix, concurrency = 50, lockMs = defaultLockMs, stalledCheckMs = 4_000 } = options;
    // BullMQ would refuse them with its connections open already, and nobody could close those.
    for (const [setting, value] of Object.entries({ concurrency, lockMs, stalledCheckMs }))
      if (!Number.isFinite(value) || value < 1)
        throw new InvalidConfigError(setting, `must be a number, at least 1, not ${value}`);
    // BullMQ passes its signal only to a function with three declared parameters.
    this.#worker = new PollingWorker(queueName, (job, token, signal) => this.#process(job, token, signal), {
      connection,
      prefix,
      concurrency,
      lockDuration: lockMs,
      stalledInterval: stalledCheckMs,
      maxStalledCount: 10,
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
    return this.#state;
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
    if (this.#state !== 'running') return;
    this.#state = 'quiet';
    void this.#worker.pause(true);
  }

  /**
   * Ends the worker within about `graceMs`: running turns may finish until then, the rest is handed back to the
   * queue at once and goes on upstream. Returns the ids of those turns. Throws IllegalStateError the second time.
   */
  async stop(graceMs: number): Promise<{ handedBack: readonly string[] }> {
    if (this.#state === 'stopped') throw new IllegalStateError('stop', this.#state);
    this.quiet();
    this.#state = 'stopped';
    const { clock } = this.#deps;
    const end = clock.monotonicMs() + graceMs;
    while (this.#held.size > 0 && clock.monotonicMs() < end) await delay(Math.min(50, graceMs), clock);
    const handedBack = [...this.#held.values()].map(({ turnId }) => turnId);
    for (const { controller } of this.#held.values()) controller.abort(new TurnAbortError('shutdown'));
    // Each gives back or ends within bounds of its own.
    while (this.#held.size > 0) await delay(10, clock);
    await closeWorker(this.#worker, clock);
    return { handedBack };
  }

  /** Ends it without any grace, unless `stop` has. */
  async close(): Promise<void> {
    if (this.#state !== 'stopped') await this.stop(0);
  }

  async #process(
    job: Job<TurnJobData, TurnJobResult, string>,
    token: string | undefined,
    signal: AbortSignal | undefined,
  ): Promise<TurnJobResult> {
    const turnId = turnIdOf(job);
    const controller = new AbortController();
    const lost = () => controller.abort(new TurnAbortError('ownership-lost'));
    signal?.addEventListener('abort', lost);
    const key = `${job.id}:${token}:${job.attemptsStarted}`;
    this.#held.set(key, { controller, turnId });
    try {
      // Fetched while we were told to take no more: BullMQ hands it over, and nobody would abort it.
      if (this.#state !== 'running')
        return await this.#giveBack(job, token, { status: 'interrupted', turnId, reason: 'shutdown' });
      const turn = await this.#deps.store
        .waiting(turnId)
        .catch((cause: unknown) => interrupted(turnId, cause));
      if (turn === null) return { status: 'missing' };
      if ('status' in turn) return await this.#giveBack(job, token, turn);
      const { policy, carrier } = turn;
      const attributes = { 'turn.id': turnId, 'turn.policy': policy, 'job.attempt': job.attemptsStarted };
      const options = {
        kind: 'consumer' as const,
        attributes,
        ...(carrier ? { parent: onlyTraceContext(carrier) } : {}),
      };
      return await this.#deps.tracer.span('turn.process', options, () =>
        this.#carry(turn, job, token, controller.signal),
      );
    } catch (error) {
      throw error instanceof TurnFailedError ? new FailedTurn(error.message) : error;
    } finally {
      signal?.removeEventListener('abort', lost);
      this.#held.delete(key);
    }
  }

  async #carry(
    turn: WaitingTurn,
    job: Job<TurnJobData, TurnJobResult>,
    token: string | undefined,
    signal: AbortSignal,
  ): Promise<TurnJobResult> {
    const outcome = await this.#claimAndRun(turn, signal).catch((error: unknown) => {
      if (error instanceof UnknownPolicyError || error instanceof ForeignConversationError)
        return { status: 'not-ours', error } as const;
      return interrupted(turn.id, error);
    });
    if (outcome.status === 'not-ours') return this.#leave(job, token, turn.id, outcome.error);
    if (outcome.status === 'behind') return this.#delay(job, token, outcome.turnId);
    if (outcome.status !== 'interrupted') await this.#wakeNext(turn.conversationId, signal);
    // Its span is an error, and the board shows its job as failed.
    if (outcome.status === 'error') throw new TurnFailedError(turn.id, outcome.error);
    if (outcome.status !== 'interrupted') return { status: outcome.status };
    return this.#giveBack(job, token, outcome);
  }

  async #claimAndRun(
    turn: WaitingTurn,
    signal: AbortSignal,
  ): Promise<
    | TurnOutcome
    | { status: 'behind'; turnId: string }
    | { status: 'finished' | 'missing' }
    | { status: 'error'; error: TurnFailure }
  > {
    // Whatever has become of it: another model's conversation says nothing here, and its hooks are elsewhere.
    if (turn.foreign !== undefined) throw new ForeignConversationError(turn.id, turn.foreign);
    const policy = await this.#policyFor(turn.policy, turn.id);
    const claim = await this.#deps.store.claim(turn, this.#deps.owner);
    if (claim.kind === 'behind') return { status: 'behind', turnId: claim.turnId };
    // Its conversation may be there after all: then the job comes again.
    if (claim.kind === 'conversation-deleted' && !(await endDeletedConversation(this.#deps, turn.id, signal)))
      return { status: 'behind', turnId: turn.id };
    if (claim.kind === 'missing') return { status: 'missing' };
    if (claim.kind === 'claimed') return runTurn(this.#deps, policy, claim.turn, claim.conversation, signal);
    await announceEnd(this.#deps, policy, turn.id, signal);
    // Also when an owner before us wrote the end and died: the job of a turn that failed has failed.
    const ended = await this.#deps.store.get(turn.id);
    return ended?.status === 'error' && ended.error
      ? { status: 'error', error: ended.error }
      : { status: 'finished' };
  }

  /**
   * An unknown policy must not claim: another worker may know it. A turn that is to be cancelled needs none, unless it is
   * only to be told.
   */
  async #policyFor(name: string, turnId: string): Promise<CompiledPolicy> {
    try {
      return this.#options.policy(name, turnId);
    } catch (error) {
      if (!(error instanceof UnknownPolicyError)) throw error;
      const control = await this.#deps.store.control(turnId);
      if (control?.run.cancelRequestedAt === undefined || control.run.phase === 'finished') throw error;
      return compilePolicy(name, {});
    }
  }

  /** Another turn of the conversation comes first: this one waits without a slot, and is woken when that one ends. */
  async #delay(job: Job, token: string | undefined, blocker: string): Promise<never> {
    this.#deps.tracer.event('turn.delayed', { 'turn.blocker': blocker });
    await job.moveToDelayed(this.#deps.clock.now() + behindDelayMs, token);
    // The blocker may have ended between our claim and the line above, when there was nothing to wake yet.
    // Nobody to ask: its own timer wakes it.
    const first = await this.#deps.store.get(blocker).catch((error: unknown) => {
      this.#report(error, 'turn.delay', job.data.turnId);
    });
    if (first === null || (first && first.status !== 'pending')) await job.promote().catch(() => undefined);
    throw new DelayedError();
  }

  /** Another worker may know the policy, or have the conversation: the job waits for it, and costs no attempt. */
  async #leave(
    job: Job,
    token: string | undefined,
    turnId: string,
    error: UnknownPolicyError | ForeignConversationError,
  ): Promise<never> {
    this.#report(error, 'turn.job', turnId);
    await job.moveToDelayed(this.#deps.clock.now() + backoffMs(job.attemptsStarted, leaveBackoff), token);
    throw new DelayedError();
  }

  /** Not terminal: the job goes back, at once when we leave, with a pause when a service is away. */
  async #giveBack(
    job: Job,
    token: string | undefined,
    { reason, cause }: Extract<TurnOutcome, { status: 'interrupted' }>,
  ): Promise<TurnJobResult> {
    // The job is somebody else's already, or will be when its lock expires: whatever we say is not heard.
    if (reason === 'ownership-lost') return { status: 'interrupted', reason };
    if (reason === 'shutdown') {
      await job.moveToWait(token);
      throw new WaitingError();
    }
    this.#report(cause, 'turn.giveBack');
    await job.moveToDelayed(this.#deps.clock.now() + backoffMs(job.attemptsStarted, awayBackoff), token);
    throw new DelayedError();
  }

  /**
   * The conversation's next turn may run. Tried as long as that one may sleep anyway: a worker that dies here, or leaves, is
   * made up for by the delay's own end.
   */
  async #wakeNext(conversationId: string, signal: AbortSignal): Promise<void> {
    const { store, clock } = this.#deps;
    const wake = async () => {
      const next = await store.head(conversationId);
      if (next) await this.#options.jobs.wake(next);
    };
    const again = (limit: AbortSignal) => persevere(wake, { ...wakeRetry, again: isRetryable, clock }, limit);
    try {
      await wake().catch((error: unknown) => {
        if (!isRetryable(error)) throw error;
        return within(behindDelayMs, again, signal, clock);
      });
    } catch (error) {
      this.#report(error, 'turn.wakeNext');
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

/** A job that somebody else wrote into the queue is refused, not guessed at, and not tried again. */
function turnIdOf(job: Job): string {
  try {
    return parseJobData(job.data).turnId;
  } catch (cause) {
    throw new UnrecoverableError(`job ${job.id} is none of a turn: ${messageOf(cause)}`);
  }
}

/** A service that is away interrupts a turn; everything else is the job's failure. */
function interrupted(turnId: string, cause: unknown): Extract<TurnOutcome, { status: 'interrupted' }> {
  if (!isRetryable(cause)) throw cause;
  return { status: 'interrupted', turnId, reason: 'service-unavailable', cause };
}
