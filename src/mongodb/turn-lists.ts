import mongoose, { type Model } from 'mongoose';
import { NotFoundError } from '../errors.ts';
import { maxPageLength, type TurnLists } from '../ports/turn-lists.ts';
import type { MessagePage, MessageRange } from '../turn/listed.ts';
import { mongoCall } from './errors.ts';
import { listedMessageFields, listedMessageOf } from './listed-message.ts';
import type { MessageDoc } from './models.ts';
import { conversationKey, objectId } from './object-id.ts';

const { trusted } = mongoose;

type Filter = Record<string, unknown>;

/** TurnLists on the ready-made Message model. */
export class MongoTurnLists implements TurnLists {
  readonly #messages: Model<MessageDoc>;
  readonly #conversations: Model<{ title?: unknown }>;

  constructor(messages: Model<MessageDoc>, conversations: Model<never>) {
    this.#messages = messages;
    this.#conversations = conversations as unknown as Model<{ title?: unknown }>;
  }

  messages(conversationId: string, { before, after, limit }: MessageRange): Promise<MessagePage> {
    return mongoCall(async () => {
      const conversation = objectId(conversationId, 'conversation');
      const forward = after !== undefined;
      const place = after ?? before;
      const at = (operator: string): Filter =>
        place === undefined ? {} : { sequence: trusted({ [operator]: place }) };
      // Whether the page one comes from is there is asked beside it: a place may be any number.
      const [read, isBeyond] = await Promise.all([
        this.#page({ conversation, ...at(forward ? '$gt' : '$lt') }, forward ? 1 : -1, limit),
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

  /** Up to `limit` messages, fewer where their texts are long, and whether there are more of them. */
  async #page(
    filter: Filter,
    direction: 1 | -1,
    limit: number,
  ): Promise<{ found: MessageDoc[]; isMore: boolean }> {
    const cursor = this.#messages
      .find(filter, listedMessageFields)
      .sort({ sequence: direction })
      .limit(limit + 1)
      .batchSize(limit + 1)
      .lean<MessageDoc>()
      .cursor();
    const found: MessageDoc[] = [];
    let left = maxPageLength;
    for await (const message of cursor as AsyncIterable<MessageDoc>) {
      left -= lengthOf(message);
      // What is left of the answer is let go with the cursor.
      if (found.length === limit || (left < 0 && found.length > 0)) return { found, isMore: true };
      found.push(message);
    }
    return { found, isMore: false };
  }

  async #any(filter: Filter): Promise<boolean> {
    return (await this.#messages.findOne(filter, { _id: 1 }).lean()) !== null;
  }

  async #conversationThere(conversationId: string): Promise<void> {
    if (await this.#conversations.exists({ _id: conversationKey(conversationId) })) return;
    throw new NotFoundError('conversation', conversationId);
  }
}

function lengthOf({ text, artifacts }: MessageDoc): number {
  const files = Array.isArray(artifacts) ? artifacts : [];
  return files.reduce((sum, file) => sum + String(file?.metadata ?? '').length, String(text ?? '').length);
}
