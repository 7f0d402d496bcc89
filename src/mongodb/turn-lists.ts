import mongoose, { type Model } from 'mongoose';
import { NotFoundError } from '../errors.ts';
import type { TurnLists } from '../ports/turn-lists.ts';
import type { MessagePage, MessageRange, OpenRequest, TurnQuery } from '../turn/listed.ts';
import { ConversationIds } from './conversation-ids.ts';
import { mongoCall } from './errors.ts';
import { listedMessageFields, listedMessageOf } from './listed-message.ts';
import { newestTurns } from './listed-turns.ts';
import type { MessageDoc } from './models.ts';
import { pageOf } from './page-of.ts';
import { pendingReplies } from './queue-head.ts';
import { controlOf } from './turn-mapping.ts';

const { trusted } = mongoose;

type Filter = Record<string, unknown>;

/** TurnLists on the ready-made Message model. */
export class MongoTurnLists implements TurnLists {
  readonly #messages: Model<MessageDoc>;
  readonly #conversations: Model<{ title?: unknown }>;
  readonly #ids: ConversationIds;

  constructor(messages: Model<MessageDoc>, conversations: Model<never>) {
    this.#messages = messages;
    this.#conversations = conversations as unknown as Model<{ title?: unknown }>;
    this.#ids = ConversationIds.of(conversations);
  }

  messages(conversationId: string, { before, after, limit }: MessageRange): Promise<MessagePage> {
    return mongoCall(async () => {
      const conversation = this.#ids.stored(conversationId);
      const forward = after !== undefined;
      const place = after ?? before;
      const at = (operator: string): Filter =>
        place === undefined ? {} : { sequence: trusted({ [operator]: place }) };
      // Whether the page one comes from is there is asked beside it: a place may be any number.
      const [read, isBeyond] = await Promise.all([
        pageOf(this.#messages, {
          filter: { conversation, ...at(forward ? '$gt' : '$lt') },
          fields: listedMessageFields,
          sort: { sequence: forward ? 1 : -1 },
          limit,
          length: lengthOf,
        }),
        place !== undefined && this.#any({ conversation, ...at(forward ? '$lte' : '$gte') }),
      ]);
      const { found, isMore } = read;
      if (!forward) found.reverse();
      if (found.length === 0 && !isBeyond) await this.#conversationThere(conversationId);
      const first = found[0]?.sequence ?? Math.min((after ?? 0) + 1, Number.MAX_SAFE_INTEGER);
      const last = found.at(-1)?.sequence ?? Math.max((before ?? 0) - 1, 0);
      return {
        messages: found.map(listedMessageOf),
        ...((forward ? isBeyond : isMore) ? { before: first } : {}),
        ...((forward ? isMore : isBeyond) ? { after: last } : {}),
      };
    });
  }

  waitingForPeople(conversationId: string): Promise<readonly OpenRequest[]> {
    return mongoCall(async () => {
      // Only one that was claimed can have asked anything, and of those a conversation has one at most.
      const active: Filter = {
        ...pendingReplies(this.#ids.stored(conversationId)),
        'run.active': true,
      };
      const message = await this.#messages
        .findOne(active, { requests: 1, status: 1, run: 1 })
        .lean<MessageDoc>();
      if (!message) return [];
      const turnId = String(message._id);
      return controlOf(message).requests.flatMap(({ answer, ...request }) =>
        request.state === 'open' && answer === undefined ? [{ turnId, ...request }] : [],
      );
    });
  }

  turns(query: TurnQuery) {
    return mongoCall(() => newestTurns(this.#messages, query));
  }

  async #any(filter: Filter): Promise<boolean> {
    return (await this.#messages.findOne(filter, { _id: 1 }).lean()) !== null;
  }

  async #conversationThere(conversationId: string): Promise<void> {
    const found = await this.#conversations.exists({ _id: this.#ids.key(conversationId) });
    if (this.#ids.isOf(conversationId, found?._id)) return;
    throw new NotFoundError('conversation', conversationId);
  }
}

function lengthOf({ text, artifacts }: MessageDoc): number {
  const files = Array.isArray(artifacts) ? artifacts : [];
  return files.reduce((sum, file) => sum + String(file?.metadata ?? '').length, String(text ?? '').length);
}
