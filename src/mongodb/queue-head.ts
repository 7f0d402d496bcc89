import mongoose, { type Model } from 'mongoose';
import { byPlace } from '../turn/position.ts';
import type { StoredConversationId } from './conversation-ids.ts';
import type { MessageDoc } from './models.ts';
import { waitingFields } from './turn-mapping.ts';

const { trusted } = mongoose;

/** The pending replies of a conversation. */
export const pendingReplies = (conversation: StoredConversationId): Record<string, unknown> => ({
  conversation,
  role: 'assistant',
  status: 'pending',
});

/**
 * The reply that runs, or that is to run next, with the fields of `waitingFields`. One read as a rule: whoever changes the order
 * marks all that wait (`steered`), so that an unmarked oldest one has nothing in front. For a marked one what was moved is
 * read after what was not: a move that is missed here has marked the turn that was read before it, and its claim loses.
 */
export async function queueHead(
  messages: Model<MessageDoc>,
  conversation: StoredConversationId,
): Promise<MessageDoc | null> {
  const pending = pendingReplies(conversation);
  const first = (filter: Record<string, unknown>, field: 'sequence' | 'position' = 'sequence') =>
    messages
      .findOne({ ...pending, ...filter }, waitingFields)
      .sort({ [field]: 1, sequence: 1 })
      .lean<MessageDoc>();
  const oldest = await first({});
  if (!oldest || oldest.run?.active || oldest.steered === undefined) return oldest;
  const unmoved = oldest.position === undefined ? oldest : await first({ position: null });
  const [active, moved] = await Promise.all([
    first({ 'run.active': true }),
    first({ position: trusted({ $type: 'string' }) }, 'position'),
  ]);
  if (active) return active;
  return [unmoved, moved].filter((one) => one !== null).sort(byPlace)[0] ?? null;
}
