import type { ClientDeps } from '../client/deps.ts';
import { enqueue } from '../client/enqueue.ts';
import type { EnqueueInput } from '../client/enqueue-input.ts';
import { checkMessagePage, type MessagePageOptions } from '../client/page-options.ts';
import { InvalidInputError } from '../errors.ts';
import { checkSessionOptions, type SessionHandle, type SessionOptions } from '../session/handle.ts';
import type { MessagePage, OpenRequest } from '../turn/listed.ts';
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
}
