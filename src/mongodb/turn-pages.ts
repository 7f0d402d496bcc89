import mongoose, { type Model } from 'mongoose';
import type { PendingTurn } from '../turn/stored-turn.ts';
import type { MessageDoc } from './models.ts';
import { objectId } from './object-id.ts';
import { pendingFields, pendingOf } from './turn-mapping.ts';

const { trusted } = mongoose;

/** The turn behind which a page begins. */
export type PageStart = Pick<PendingTurn, 'id' | 'createdAt'>;

/** Turns of one kind, created before `before` (Unix ms), oldest first, at most `limit`; a page begins behind `after`. */
export async function pageOfTurns(
  messages: Model<MessageDoc>,
  which: Record<string, unknown>,
  before: number,
  limit: number,
  after: PageStart | undefined,
): Promise<readonly PendingTurn[]> {
  // The time of the place stands outside of the alternatives, too: the index is entered there, and not at its beginning.
  const age = { ...(after ? { $gte: new Date(after.createdAt) } : {}), $lt: new Date(before) };
  const filter: Record<string, unknown> = { role: 'assistant', createdAt: trusted(age), ...which };
  if (after) {
    const createdAt = new Date(after.createdAt);
    const sameTime = { createdAt, _id: trusted({ $gt: objectId(after.id, 'turnId') }) };
    filter.$or = [{ createdAt: trusted({ $gt: createdAt }) }, sameTime];
  }
  const found = await messages
    .find(filter, pendingFields)
    .sort({ createdAt: 1, _id: 1 })
    .limit(Math.max(1, limit))
    .lean<MessageDoc[]>();
  return found.map(pendingOf);
}
