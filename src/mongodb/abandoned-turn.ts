import mongoose, { type Model } from 'mongoose';
import { storedIdText } from '../turn/conversation-id.ts';
import { promptIds, stopRefOf } from '../turn/phase.ts';
import type { TurnFailure } from '../turn/stored-turn.ts';
import { ConversationIds } from './conversation-ids.ts';
import type { MessageDoc } from './models.ts';
import { objectId } from './object-id.ts';
import { readableVersion } from './readable-version.ts';
import { notAnnounced } from './unannounced-ends.ts';

const { trusted } = mongoose;

/** `TurnStore.abandon`: the message as it is then, or null. Throws what the driver throws. */
export async function abandoned(
  messages: Model<MessageDoc>,
  conversations: Model<{ title?: unknown }>,
  turnId: string,
  failure: TurnFailure,
): Promise<MessageDoc | null> {
  const _id = objectId(turnId, 'turnId');
  const ids = ConversationIds.of(conversations);
  const known = await messages
    .findOne({ _id, role: 'assistant' }, { conversation: 1, run: 1 })
    .lean<MessageDoc>();
  // A secondary may not have heard of a conversation that is new.
  if (
    !known ||
    (await conversations.exists({ _id: ids.key(storedIdText(known.conversation)) }).read('primary'))
  )
    return null;
  const end = {
    status: 'error',
    error: failure,
    finishedAt: new Date(),
    'run.phase': 'finished',
    ...notAnnounced,
    ...leftRunning(known.run),
  };
  // The owner of before may prompt at this moment: then what is left running is another one.
  const { promptMessageId = trusted({ $exists: false }) } = known.run ?? {};
  const pending: Record<string, unknown> = {
    _id,
    status: 'pending',
    'run.promptMessageId': promptMessageId,
    ...readableVersion(),
  };
  const change = { $set: end, $inc: { 'run.epoch': 1 }, $unset: { 'run.active': 1 as const } };
  return messages.findOneAndUpdate(pending, change, { returnDocument: 'after' }).lean<MessageDoc>();
}

/** What an owner may have left running, for the sweeper; beside what he could not see end before. */
function leftRunning(run: MessageDoc['run']): Record<string, unknown> {
  // Prompted or not: its phase says what was stored last, not what was done.
  const ids = run && promptIds({ ...run, claimedAt: 0, phase: 'prompted' });
  if (!ids) return {};
  const open = Array.isArray(run.openStops) ? run.openStops : [];
  return { 'run.openStops': [...open, stopRefOf(ids)], 'run.stopTriedAt': Date.now() };
}
