import type { ClientDeps } from '../client/deps.ts';
import { enqueue } from '../client/enqueue.ts';
import type { EnqueueInput } from '../client/enqueue-input.ts';
import { checkMessagePage, type MessagePageOptions } from '../client/page-options.ts';
import {
  checkEdit,
  checkHold,
  checkPlace,
  type EditOptions,
  type HoldOptions,
} from '../client/queue-options.ts';
import { retry } from '../client/retry.ts';
import * as steer from '../client/steer-queue.ts';
import { InvalidInputError } from '../errors.ts';
import type { ConversationQueue } from '../ports/turn-queue.ts';
import { checkSessionOptions, type SessionHandle, type SessionOptions } from '../session/handle.ts';
import type { MessagePage, OpenRequest } from '../turn/listed.ts';
import type { Place } from '../turn/queue-order.ts';
import type { StoredTurn } from '../turn/stored-turn.ts';

/** What the handles of one object of turns share. @internal */
export interface ConversationDeps {
  readonly client: ClientDeps;
  readonly session: (conversationId: string, options: SessionOptions) => SessionHandle;
}

/** What `turns.enqueue` takes, but for the conversation. */
export type ConversationInput = Omit<EnqueueInput, 'conversation'>;

/**
 * One conversation, for those who read and steer it as a whole. It holds nothing but the id: any number of handles in any number of
 * processes are one as good as the other. All calls throw InvalidInputError, ServiceUnavailableError, and what each names.
 */
export class Conversation {
  readonly id: string;
  readonly #open: (method: string) => ConversationDeps;

  /** `open` throws IllegalStateError once the turns are closed. @internal */
  constructor(open: (method: string) => ConversationDeps, id: string) {
    this.#open = open;
    this.id = id;
  }

  /**
   * One page of the conversation: its newest messages, or those next to a place. With `before` and `after` of each page one goes
   * through all of them, each message once, also while turns are added. A page without `after` is the end so far: the
   * sequence of its last message is the `after` of what comes next. Throws NotFoundError when neither the conversation nor a message of
   * it is stored.
   */
  async messages(options: MessagePageOptions = {}): Promise<MessagePage> {
    const { lists } = this.#open('messages').client;
    return lists.messages(this.id, checkMessagePage(options));
  }

  /** The open questions and permissions that nobody has answered, in the order in which they were asked; see `turns.answer`. */
  async waitingForPeople(): Promise<readonly OpenRequest[]> {
    return this.#open('waitingForPeople').client.lists.waitingForPeople(this.id);
  }

  /** The same as `turns.enqueue` with this conversation. */
  async enqueue(input: ConversationInput): Promise<StoredTurn> {
    const { client } = this.#open('enqueue');
    if (typeof input !== 'object' || input === null)
      throw new InvalidInputError('input', 'must be an object: { text }');
    if ('conversation' in input)
      throw new InvalidInputError('conversation', 'is the one that the handle is of: leave it out');
    return enqueue(client, { ...(input as ConversationInput), conversation: this.id } as EnqueueInput<never>);
  }

  /** The same as `turns.session` with this conversation. */
  session(options: SessionOptions = {}): SessionHandle {
    return this.#open('session').session(this.id, checkSessionOptions(options));
  }

  /**
   * What runs and what waits, in the order in which it will run: the first 200, each with the beginning of its text. Throws
   * ConflictError where more than 5,000 wait.
   */
  async queue(): Promise<ConversationQueue> {
    return steer.queue(this.#client('queue'), this.id);
  }

  /**
   * Replaces the text of a turn that waits; its files stay. Either the worker that claims it asks the new text, or this throws
   * TurnStartedError and nothing is changed. RevisionError: somebody else has edited it since `revision`.
   */
  async edit(turnId: string, options: EditOptions): Promise<{ readonly revision: number }> {
    const deps = this.#client('edit');
    return steer.edit(deps, this.id, turnId, checkEdit(options));
  }

  /** Ends a turn that waits, as `cancelled`. Again: changes nothing. TurnStartedError: it goes on; `turns.cancel` stops it. */
  async drop(turnId: string): Promise<void> {
    return steer.drop(this.#client('drop'), this.id, turnId);
  }

  /**
   * Moves a turn that waits among the others that do; those that are enqueued later come behind. TurnStartedError names the turn
   * that no longer waits: this one, or the one that it was to go next to. Two moves at once: both orders are right.
   */
  async move(turnId: string, place: Place): Promise<void> {
    return steer.move(this.#client('move'), this.id, turnId, checkPlace(turnId, place));
  }

  /**
   * A turn that waits goes next, and what runs is stopped for it as if by `turns.cancel`: its answer stays as far as it came,
   * `run.interruptedBy` says why. Returns the turn that is stopped; undefined where none runs, or it has ended by itself. Of several the last one stands first.
   * In a conversation that is held it waits for the release.
   */
  async sendNow(turnId: string): Promise<{ readonly interrupted: string | undefined }> {
    return steer.sendNow(this.#client('sendNow'), this.id, turnId);
  }

  /** Nothing that waits starts any more, until `release`; what runs goes on, and is returned. The last one who holds it is named. */
  async hold(options: HoldOptions = {}): Promise<{ readonly running: string | undefined }> {
    return steer.hold(this.#client('hold'), this.id, checkHold(options));
  }

  /** What waits goes on. Idempotent. */
  async release(): Promise<void> {
    return steer.release(this.#client('release'), this.id);
  }

  /** `hold`, and ends what runs as if by `turns.cancel`. Returns that turn; undefined where none runs. */
  async stop(options: HoldOptions = {}): Promise<{ readonly stopped: string | undefined }> {
    return steer.stop(this.#client('stop'), this.id, checkHold(options));
  }

  /**
   * Enqueues what a turn that has failed or was cancelled had asked, with its files, under its policy: a new turn, whose `retryOf` names
   * it. Again, and by whomever: the same new turn, unless that one was dropped. Throws NotRetryableError.
   */
  async retry(turnId: string): Promise<StoredTurn> {
    return retry(this.#client('retry'), this.id, turnId);
  }

  #client(method: string): ClientDeps {
    return this.#open(method).client;
  }
}
