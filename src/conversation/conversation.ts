import type { ClientDeps } from '../client/deps.ts';
import { checkMessagePage, type MessagePageOptions } from '../client/page-options.ts';
import type { MessagePage } from '../turn/listed.ts';

/** What the handles of one object of turns share. @internal */
export interface ConversationDeps {
  /** Throws IllegalStateError once it is closed. */
  readonly open: (method: string) => ClientDeps;
}

/**
 * One conversation, for those who read and steer it as a whole. It holds nothing but the id: any number of handles in any number of
 * processes are one as good as the other. All calls throw ServiceUnavailableError for a database that is away, NotFoundError for a
 * conversation of which nothing is stored, InvalidInputError, and what each names.
 */
export class Conversation {
  readonly id: string;
  readonly #deps: ConversationDeps;

  /** @internal */
  constructor(deps: ConversationDeps, id: string) {
    this.#deps = deps;
    this.id = id;
  }

  /**
   * One page of the conversation: its newest messages, or those next to a place. With `before` and `after` of each page one goes
   * through all of them, each message once, also while turns are added. A page without `after` is the end so far: the
   * sequence of its last message is the `after` of what comes next.
   */
  async messages(options: MessagePageOptions = {}): Promise<MessagePage> {
    const { lists } = this.#deps.open('messages');
    return lists.messages(this.id, checkMessagePage(options));
  }
}
