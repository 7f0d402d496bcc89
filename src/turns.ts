import type { Connection } from 'mongoose';
import type { Closers } from './closers.ts';
import { IllegalStateError } from './errors.ts';
import type { FileStore } from './ports/file-store.ts';
import type { CancelResult } from './ports/turn-store.ts';
import type { EnqueueInput } from './queue/enqueue-input.ts';
import type { FollowOptions } from './queue/follow.ts';
import type { TurnQueue } from './queue/turn-queue.ts';
import type { TurnWorker, TurnWorkerOptions, WorkerState } from './queue/turn-worker.ts';
import type { TurnModels } from './store/models.ts';
import type { PromptAnswer, StoredTurn } from './turn/stored-turn.ts';
import type { TurnEntry } from './turn/turn-entry.ts';
import type { TurnPolicy } from './turn/turn-policy.ts';

export interface WorkOptions extends Pick<TurnWorkerOptions, 'concurrency' | 'lockMs' | 'stalledCheckMs'> {
  /** The products' rules by name; jobs name one of them. */
  readonly policies: Readonly<Record<string, TurnPolicy>>;
  /**
   * How long a turn whose policy is not among them is left to other workers before this one ends it as an error. By
   * default 600,000 ms.
   */
  readonly unknownPolicyMs?: number;
  /** How often what fell between two systems is looked for (default 15,000), and from what age on (default 10,000). */
  readonly sweeper?: { readonly everyMs?: number; readonly minAgeMs?: number };
}

/** A worker of this process. */
export interface RunningWorker {
  readonly state: WorkerState;
  /** Turns that run now. */
  readonly active: number;
  /** Takes no new turns; what runs goes on. */
  quiet(): void;
  /**
   * Ends within about `deadlineMs`: running turns may finish until then; the rest goes back to the queue at
   * once, goes on upstream, and is adopted by another worker. Answers the ids of those. The second call throws
   * IllegalStateError.
   */
  stop(deadlineMs?: number): Promise<{ handedBack: readonly string[] }>;
}

interface Parts {
  readonly queue: TurnQueue;
  readonly models: TurnModels;
  readonly files: FileStore;
  readonly connection: Connection;
  readonly work: (options: WorkOptions) => Promise<{ worker: TurnWorker; closers: Closers }>;
  readonly indexes: () => Promise<void>;
  readonly closers: Closers;
}

const defaultStopMs = 10_000;

/** What `connect` answers: enqueue and follow turns, or work on them. Every call after `close` throws IllegalStateError. */
export class Turns {
  readonly #parts: Parts;
  readonly #workers = new Set<RunningWorker>();

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** The ready-made Mongoose models, to read from; their queries are Mongoose's, and nothing is added to them. */
  get models(): TurnModels {
    return this.#open('models').models;
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

  /** See TurnQueue.enqueue: once it resolves, the turn is never lost. */
  async enqueue(input: EnqueueInput): Promise<StoredTurn> {
    return this.#open('enqueue').queue.enqueue(input);
  }

  /** The turn as it is stored, or null. */
  async get(turnId: string): Promise<StoredTurn | null> {
    return this.#open('get').queue.get(turnId);
  }

  /** Entries from the beginning, or behind the cursor `after`, to the terminal one. Leaving the loop cancels nothing. */
  follow(turnId: string, options: FollowOptions = {}): AsyncGenerator<TurnEntry> {
    return this.#open('follow').queue.follow(turnId, options);
  }

  /** Cancels from any process; what was streamed is kept. */
  async cancel(turnId: string): Promise<CancelResult> {
    return this.#open('cancel').queue.cancel(turnId);
  }

  /** Answers an open question or permission; false when it is open no more. */
  async answer(turnId: string, requestId: string, answer: PromptAnswer): Promise<boolean> {
    return this.#open('answer').queue.answer(turnId, requestId, answer);
  }

  /**
   * Starts to take jobs in this process. Throws InvalidConfigError for an option or a policy that makes no sense, and when
   * an index that correctness rests on is missing (see `createIndexes`); ServiceUnavailableError.
   */
  async work(options: WorkOptions): Promise<RunningWorker> {
    const { worker, closers } = await this.#open('work').work(options);
    const workers = this.#workers;
    const running: RunningWorker = {
      get state() {
        return worker.state;
      },
      get active() {
        return worker.active;
      },
      quiet: () => worker.quiet(),
      stop: async (deadlineMs = defaultStopMs) => {
        workers.delete(running);
        try {
          return await worker.stop(deadlineMs);
        } finally {
          await closers.close();
        }
      },
    };
    workers.add(running);
    return running;
  }

  /** Stops the workers of this object and closes every connection. The second call waits for the first. */
  async close(): Promise<void> {
    const stopped = await Promise.allSettled([...this.#workers].map((worker) => worker.stop()));
    await this.#parts.closers.close();
    for (const result of stopped) if (result.status === 'rejected') throw result.reason;
  }

  #open(what: string): Parts {
    if (this.#parts.closers.closed) throw new IllegalStateError(what, 'closed');
    return this.#parts;
  }
}
