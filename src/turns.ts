import type { Connection } from 'mongoose';
import { checkTurnId } from './client/check-input.ts';
import type { ClientDeps } from './client/deps.ts';
import { enqueue } from './client/enqueue.ts';
import type { ConversationRef, EnqueueInput } from './client/enqueue-input.ts';
import { type ListOptions, listTurns } from './client/list-turns.ts';
import { answer, cancel } from './client/steer.ts';
import type { Closers } from './closers.ts';
import { stopDeadline } from './config/work-settings.ts';
import { Conversation } from './conversation/conversation.ts';
import { IllegalStateError } from './errors.ts';
import { type FollowOptions, follow } from './live/follow.ts';
import { type ResultOptions, result } from './live/result.ts';
import type { MessageConversation, TurnModels } from './mongodb/models.ts';
import type { FileStore } from './ports/file-store.ts';
import type { CancelResult } from './ports/turn-store.ts';
import { checkSessionOptions, type SessionHandle, type SessionOptions } from './session/handle.ts';
import type { ReadyConversation } from './turn/conversation.ts';
import { conversationIdOf } from './turn/conversation-id.ts';
import type { TurnEntry } from './turn/entry.ts';
import type { TurnPage } from './turn/listed.ts';
import type { FinishedTurn, InputAnswer, StoredTurn } from './turn/stored-turn.ts';
import type { RunningWorker, WorkOptions } from './worker/running-worker.ts';

/** @internal */
interface Started {
  readonly worker: Omit<RunningWorker, typeof Symbol.asyncDispose>;
  readonly closers: Closers;
}

/** @internal */
interface Parts {
  readonly client: ClientDeps;
  readonly models: TurnModels;
  readonly files: FileStore;
  readonly connection: Connection;
  readonly work: (options: WorkOptions<never>) => Promise<Started>;
  readonly session: (conversationId: string, options: SessionOptions) => SessionHandle;
  readonly indexes: () => Promise<void>;
  readonly closers: Closers;
}

/**
 * What `connect` returns: enqueue and follow turns, or work on them. `R` is the type of the conversations' documents. From the
 * moment that `close` is called, every call throws IllegalStateError at once.
 */
export class Turns<R = ReadyConversation> {
  readonly #parts: Parts;
  readonly #workers = new Set<RunningWorker>();
  readonly #starting = new Set<Promise<unknown>>();
  #closing: Promise<void> | undefined;

  /** @internal */
  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** The ready-made Mongoose models, to read from; their queries are Mongoose's, and nothing is added to them. */
  get models(): TurnModels<MessageConversation<R>> {
    return this.#open('models').models as unknown as TurnModels<MessageConversation<R>>;
  }

  /** A Mongoose connection without models and with Mongoose's own defaults, for models of the host's own. */
  get connection(): Connection {
    return this.#open('connection').connection;
  }

  /** Bytes of attached files. */
  get files(): FileStore {
    return this.#open('files').files;
  }

  /**
   * Builds the indexes that correctness rests on. Idempotent; run it once at deploy time. Throws IndexConflictError for
   * one that meets another index or documents that it cannot hold: it names them, and says what to do.
   */
  async createIndexes(): Promise<void> {
    await this.#open('createIndexes').indexes();
  }

  /**
   * Stores the user's message and the pending reply, and queues the turn behind the conversation's earlier ones.
   * Once this resolves the turn is never lost: a job that could not be added is added by the sweeper.
   * Throws InvalidInputError, NotFoundError (no such conversation), TurnBusyError, FileTooLargeError; nothing is written
   * then. ServiceUnavailableError: neither, while its `effect` is `none`; when that is `unknown`, the turn may be
   * stored, and the same call with the same `idempotencyKey` returns that one turn. That key wins over everything:
   * a turn that it names is returned also where the conversation is busy.
   */
  async enqueue(input: EnqueueInput<R>): Promise<StoredTurn> {
    return enqueue(this.#open('enqueue').client, input as EnqueueInput<never>);
  }

  /** The stored turn, or null. Throws InvalidInputError, NewerVersionError (stored by a newer release), ServiceUnavailableError. */
  async get(turnId: string): Promise<StoredTurn | null> {
    return this.#open('get').client.store.get(checkTurnId(turnId));
  }

  /**
   * Entries from the beginning, or behind the cursor `after`, to the terminal one; see `live/follow.ts` for what is
   * yielded when entries are no longer kept. Leaving the loop cancels nothing. Throws InvalidInputError, NotFoundError,
   * NewerVersionError, ServiceUnavailableError.
   */
  follow(turnId: string, options: FollowOptions = {}): AsyncGenerator<TurnEntry> {
    return follow(this.#open('follow').client, checkTurnId(turnId), options);
  }

  /**
   * The turn once it is over, whoever runs it and however it ends; at once when it ended long ago. Streams nothing, and asks for
   * the stored status every two seconds at most. Throws NotFoundError, InvalidInputError, CallAbortedError when the signal
   * aborts, which cancels nothing; ServiceUnavailableError for a database that stays away for five minutes.
   */
  async result(turnId: string, options: ResultOptions = {}): Promise<FinishedTurn> {
    return result(this.#open('result').client, checkTurnId(turnId), options);
  }

  /**
   * Requests a turn's end, from any process. One that waits is cancelled at once; a running one by its worker, keeping
   * what was streamed, or by the next owner if that worker is dead. Throws NotFoundError, InvalidInputError, NewerVersionError,
   * ServiceUnavailableError('mongodb'). Redis being away only delays it.
   */
  async cancel(turnId: string): Promise<CancelResult> {
    return cancel(this.#open('cancel').client, turnId);
  }

  /**
   * Stores a person's answer to an open question or permission, and tells the worker. False when it was
   * answered or closed before. Throws NotFoundError (turn or request), NewerVersionError, InvalidInputError also for one
   * that does not fit what was asked; nothing is stored then.
   */
  async answer(turnId: string, requestId: string, given: InputAnswer): Promise<boolean> {
    return answer(this.#open('answer').client, turnId, requestId, given);
  }

  /**
   * One page of the turns of all conversations, newest first, for operators: only those of which all that is said is true. With the
   * `cursor` of each page one goes through all that were there at the beginning, each once. Served by indexes, so build them (`createIndexes`).
   * Throws InvalidInputError, ServiceUnavailableError.
   */
  async list(options: ListOptions = {}): Promise<TurnPage> {
    return listTurns(this.#open('list').client.lists, options);
  }

  /** One conversation as a whole, to read and to go on with. No I/O. Throws InvalidInputError. */
  conversation(conversation: ConversationRef<R>): Conversation {
    const { idType } = this.#open('conversation').client;
    return new Conversation((method) => this.#open(method), conversationIdOf(conversation, idType));
  }

  /**
   * The OpenCode session of a conversation, for those who look after it beside its turns. No I/O; the first call of the handle
   * that needs a server opens a connection. Throws InvalidInputError, and InvalidConfigError for rules that make no sense.
   */
  session(conversation: ConversationRef<R>, options: SessionOptions = {}): SessionHandle {
    const parts = this.#open('session');
    const id = conversationIdOf(conversation, parts.client.idType);
    return parts.session(id, checkSessionOptions(options));
  }

  /**
   * Starts to take jobs in this process. Throws InvalidConfigError for an option or a policy that makes no sense, and when
   * an index that correctness rests on is missing (see `createIndexes`); ServiceUnavailableError.
   */
  async work(options: WorkOptions<R>): Promise<RunningWorker> {
    const starting = this.#open('work').work(options);
    this.#starting.add(starting);
    try {
      const { worker, closers } = await starting;
      const running = this.#running(worker, closers);
      this.#workers.add(running);
      if (!this.#closing) return running;
      // Closed while it started: nobody else could stop it any more.
      await running.stop(0);
      throw new IllegalStateError('work', 'closed');
    } finally {
      this.#starting.delete(starting);
    }
  }

  #running(worker: Started['worker'], closers: Closers): RunningWorker {
    const workers = this.#workers;
    let stopping: ReturnType<RunningWorker['stop']> | undefined;
    const stop = async (deadlineMs: number) => {
      try {
        return await worker.stop(deadlineMs);
      } finally {
        await closers.close();
        workers.delete(running);
      }
    };
    const running: RunningWorker = {
      get state() {
        return worker.state;
      },
      get active() {
        return worker.active;
      },
      quiet: () => worker.quiet(),
      stop: async (deadlineMs) => {
        const graceMs = stopDeadline(deadlineMs);
        if (stopping) throw new IllegalStateError('stop', worker.state);
        stopping = stop(graceMs);
        return stopping;
      },
      [Symbol.asyncDispose]: async () => {
        // Whoever has called `stop` is told what failed of it.
        await (stopping?.catch(() => undefined) ?? running.stop());
      },
    };
    return running;
  }

  /**
   * Stops the workers of this object, or waits for those that are being stopped, and closes every connection. The second call
   * waits for the first. `await using turns = await connect(…)` calls it at the end of the block.
   *
   * It ends whatever the services do: some seconds after the workers' grace, with one that does not answer its goodbye
   * cut off and told to the reporter. What is left of this object then keeps no process alive.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await Promise.allSettled(this.#starting);
    const stopped = await Promise.allSettled(
      [...this.#workers].map((worker) => worker[Symbol.asyncDispose]()),
    );
    await this.#parts.closers.close();
    for (const result of stopped) if (result.status === 'rejected') throw result.reason;
  }

  /** The same as `close`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #open(what: string): Parts {
    if (this.#closing || this.#parts.closers.closed) throw new IllegalStateError(what, 'closed');
    return this.#parts;
  }
}
