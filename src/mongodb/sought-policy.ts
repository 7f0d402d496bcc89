import mongoose, { type Model } from 'mongoose';
import type { MessageDoc } from './models.ts';
import { objectId } from './object-id.ts';
import { readableVersion } from './readable-version.ts';

const { trusted } = mongoose;

/** See `TurnStore.policySoughtMs`. Idempotent but for the time of the last look. */
export async function policySoughtMs(messages: Model<MessageDoc>, turnId: string): Promise<number> {
  const filter: Record<string, unknown> = {
    _id: objectId(turnId, 'turnId'),
    role: 'assistant',
    ...readableVersion(),
  };
  const first = { ...filter, 'run.policySoughtSince': trusted({ $exists: false }) };
  const begun = await messages.updateOne(first, { $currentDate: { 'run.policySoughtSince': true } });
  if (begun.modifiedCount === 1) return 0;
  const message = await messages
    .findOneAndUpdate(
      filter,
      { $currentDate: { 'run.policySoughtAt': true } },
      { returnDocument: 'after', projection: { run: 1 } },
    )
    .lean<MessageDoc>();
  const { policySoughtSince: since, policySoughtAt: at } = message?.run ?? {};
  // A claim in between has taken both away.
  return since && at ? Math.max(0, at.getTime() - since.getTime()) : 0;
}
