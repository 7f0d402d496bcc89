import type { Model } from 'mongoose';
import { maxPageLength } from '../ports/turn-lists.ts';
import type { MessageDoc } from './models.ts';

export interface Found {
  readonly found: MessageDoc[];
  readonly isMore: boolean;
}

interface Wanted {
  readonly filter: Record<string, unknown>;
  readonly fields: Readonly<Record<string, 1>>;
  readonly sort: Readonly<Record<string, 1 | -1>>;
  readonly limit: number;
  /** Of what of a message no other bound is known, in UTF-16 units. */
  readonly length: (message: MessageDoc) => number;
}

/** Up to `limit` messages in one command, fewer where they are long but one at least, and whether there are more of them. */
export async function pageOf(messages: Model<MessageDoc>, wanted: Wanted): Promise<Found> {
  const { filter, fields, sort, limit, length } = wanted;
  const cursor = messages
    .find(filter, fields)
    .sort(sort)
    .limit(limit + 1)
    .batchSize(limit + 1)
    .lean<MessageDoc>()
    .cursor();
  const found: MessageDoc[] = [];
  let left = maxPageLength;
  for await (const message of cursor as AsyncIterable<MessageDoc>) {
    left -= length(message);
    // What is left of the answer is let go with the cursor.
    if (found.length === limit || (left < 0 && found.length > 0)) return { found, isMore: true };
    found.push(message);
  }
  return { found, isMore: false };
}
