import type { Redis } from 'ioredis';
import { LeaseLostError, NotFoundError, ServiceUnavailableError, TurnsError } from '../errors.ts';
import type { ErrorReporter } from '../instrumentation/error-reporter.ts';
import type { TraceCarrier, Tracer } from '../instrumentation/tracer.ts';
import type { FileStore } from '../ports/file-store.ts';
import type { CancelResult, CreatedTurn, TurnStore } from '../ports/turn-store.ts';
import { checkFits } from '../turn/check-answer.ts';
import type { PromptAnswer, StoredTurn } from '../turn/stored-turn.ts';
import type { TurnEnd, TurnEntry } from '../turn/turn-entry.ts';
import { removeUploads, storeUploads } from '../turn/uploads.ts';
import { checkAnswer, checkRequestId, checkTurnId } from './check-input.ts';
import { type CheckedInput, checkEnqueueInput, type EnqueueInput } from './enqueue-input.ts';
import { type FollowOptions, follow } from './follow.ts';
import type { TurnJobs } from './turn-jobs.ts';
import { type Nudges, wishChannel } from './turn-nudges.ts';
import type { TurnStream } from './turn-stream.ts';

export interface TurnQueueDeps {
  /** A connection of the role `commands`. */
  readonly redis: Redis;
  readonly store: TurnStore;
  readonly files: FileStore;
  readonly jobs: TurnJobs;
  readonly stream: TurnStream;
  readonly nudges: Nudges;
  readonly prefix: string;
  readonly tracer: Tracer;
  readonly reporter: ErrorReporter;
}

/** For web apps: everything that can be done with turns without running any. */
export class TurnQueue {
  readonly #deps: TurnQueueDeps;

  constructor(deps: TurnQueueDeps) {
    this.#deps = deps;
  }

  /**
   * Stores the user's message and the pending answer, and queues the turn behind the record's earlier ones.
   * Once this resolves the turn is never lost: a job that could not be added is added by the sweeper.
   * Throws InvalidInputError, NotFoundError (no such record), TurnBusyError, FileTooLargeError; nothing is written
   * then. ServiceUnavailableError: neither, while its `effect` is `none`; when that is `unknown`, the turn may be
   * stored, and the same call with the same `idempotencyKey` answers that one turn. That key wins over everything:
   * a turn that it names is answered also where the record is busy.
   */
  async enqueue(input: EnqueueInput): Promise<StoredTurn> {
    const checked = checkEnqueueInput(input);
    const { tracer } = this.#deps;
    const attributes = { 'turn.policy': checked.policy };
    return tracer.span('turn.enqueue', { kind: 'producer', attributes }, async (span) => {
      // Asked before anything is written: a turn without a queue would look accepted and not move.
      this.#needRedis();
      const carrier = tracer.carrier();
      const { turn, created, first } = await this.#create(checked, carrier);
      span.set({ 'turn.id': turn.id, 'turn.created': created });
      if (turn.status !== 'pending') return turn;
      try {
        await Promise.all([created ? this.#tellQueued(turn.id) : undefined, this.#addJob(turn, first)]);
      } catch (error) {
        this.#deps.reporter.report(error, { action: 'turn.enqueue', severity: 'warning', turnId: turn.id });
      }
      return turn;
    });
  }

  /** The stored turn, or null. Throws InvalidInputError, ServiceUnavailableError. */
  async get(turnId: string): Promise<StoredTurn | null> {
    return this.#deps.store.get(checkTurnId(turnId));
  }

  /** See `follow.ts`: entries from the beginning, or behind a cursor, to the terminal one. */
  follow(turnId: string, options: FollowOptions = {}): AsyncGenerator<TurnEntry> {
    return follow(this.#deps, checkTurnId(turnId), options);
  }

  /**
   * Wishes a turn's end. One that waits is cancelled at once; a running one by its worker, keeping what was
   * streamed, or by the next owner if that worker is dead. Throws NotFoundError, InvalidInputError,
   * ServiceUnavailableError('mongodb'). Redis being away only delays it.
   */
  async cancel(turnId: string): Promise<CancelResult> {
    const id = checkTurnId(turnId);
    const { store, jobs, stream } = this.#deps;
    const result = await store.cancel(id);
    await this.#bestEffort('turn.cancel', id, async () => {
      if (result === 'requested') return this.#nudge(id);
      const turn = result === 'cancelled' ? await store.get(id) : null;
      if (!turn) return;
      const end: TurnEnd = { status: 'cancelled', text: '' };
      await stream.end({ turnId: id, epoch: turn.run.epoch }, end);
      // Its job has nothing to do any more but to tell the host's policy, which a worker knows.
      await jobs.wake(turn);
      const next = await store.head(turn.recordId);
      if (next) await jobs.wake(next);
    });
    return result;
  }

  /**
   * Stores a person's answer to an open question or permission, and tells the worker. False when it was
   * answered or closed before. Throws NotFoundError (turn or prompt), InvalidInputError also for one that does not fit
   * what was asked; nothing is stored then.
   */
  async answer(turnId: string, requestId: string, answer: PromptAnswer): Promise<boolean> {
    const id = checkTurnId(turnId);
    const { store } = this.#deps;
    const asked = checkRequestId(requestId);
    const checked = checkAnswer(answer);
    const turn = await store.wishes(id);
    if (!turn) throw new NotFoundError('turn', id);
    const prompt = turn.prompts.find((known) => known.requestId === asked);
    if (!prompt) throw new NotFoundError('prompt', asked);
    checkFits(prompt, checked);
    const stored = await store.answer(id, asked, checked);
    if (stored) await this.#bestEffort('turn.answer', id, () => this.#nudge(id));
    return stored;
  }

  async #create({ files, ...turn }: CheckedInput, carrier: TraceCarrier): Promise<CreatedTurn> {
    const { store } = this.#deps;
    const newTurn = { ...turn, ...(carrier.traceparent ? { carrier } : {}) };
    if (files.length === 0) return store.create(newTurn);
    if (!(await store.record(turn.recordId))) throw new NotFoundError('record', turn.recordId);
    const messageId = store.newMessageId();
    const uploads = await storeUploads(this.#deps.files, messageId, files);
    const discard = () => removeUploads(this.#deps.files, uploads).catch(() => undefined);
    try {
      const result = await store.create({ ...newTurn, uploads: { messageId, files: uploads } });
      // An earlier call with this key has brought the same files.
      if (!result.created) await discard();
      return result;
    } catch (error) {
      // The answer to our write may have been lost: then the message is there, or will be, with these files. Those of
      // a message that never comes are the sweeper's.
      if (storedNothing(error)) await discard();
      throw error;
    }
  }

  async #tellQueued(turnId: string): Promise<void> {
    try {
      await this.#deps.stream.append({ turnId, epoch: 0 }, 'any', [{ type: 'phase', phase: 'queued' }]);
    } catch (error) {
      // A worker has begun the turn already: what it tells is newer.
      if (!(error instanceof LeaseLostError)) throw error;
    }
  }

  /** Parked unless it is surely the record's head; looked at afterwards, since the one in front may end meanwhile. */
  async #addJob(turn: StoredTurn, first: boolean): Promise<void> {
    const { store, jobs } = this.#deps;
    await jobs.add(turn, !first);
    if (!first && (await store.head(turn.recordId))?.id === turn.id) await jobs.wake(turn);
  }

  #needRedis(): void {
    const { status } = this.#deps.redis;
    if (status !== 'ready')
      throw new ServiceUnavailableError('redis', `not connected (${status}); nothing was enqueued`, {
        effect: 'none',
      });
  }

  async #nudge(turnId: string): Promise<void> {
    const { redis, prefix } = this.#deps;
    await redis.publish(wishChannel(prefix), turnId);
  }

  /** The wish is stored; everything after that only makes it faster. */
  async #bestEffort(action: string, turnId: string, fn: () => Promise<unknown>): Promise<void> {
    try {
      await fn();
    } catch (error) {
      this.#deps.reporter.report(error, { action, severity: 'warning', turnId });
    }
  }
}

const storedNothing = (error: unknown) =>
  error instanceof TurnsError && !(error instanceof ServiceUnavailableError && error.effect === 'unknown');
