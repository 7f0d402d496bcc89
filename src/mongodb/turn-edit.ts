import mongoose, { type Model } from 'mongoose';
import type { EditResult } from '../ports/turn-queue.ts';
import { versions } from '../turn/versions.ts';
import type { MessageDoc } from './models.ts';
import { objectId } from './object-id.ts';
import { settled } from './settled.ts';
import type { UserMessageDoc } from './turn-mapping.ts';
import { waitingState } from './waiting-turn.ts';

/** Each lost try means that somebody else has edited the turn. */
const maxTries = 100;

/**
 * Replaces the text of a turn that waits. It is stored on the reply, which is what a claim changes, too: two documents cannot be
 * compared at once. From there it is copied to the user's message, by whoever edits or claims it.
 */
export async function editTurn(
  messages: Model<MessageDoc>,
  turnId: string,
  text: string,
  revision: number | undefined,
): Promise<EditResult> {
  const _id = objectId(turnId, 'turnId');
  const token = String(new mongoose.Types.ObjectId());
  for (let attempt = 0; attempt < maxTries; attempt += 1) {
    const found = await waitingState(messages, turnId);
    if (found.kind !== 'waiting') return { kind: found.kind };
    const known = found.message.edit?.revision ?? 0;
    if (revision !== undefined && revision !== known) return { kind: 'revision', revision: known };
    const edit: NonNullable<MessageDoc['edit']> = { revision: known + 1, text, token };
    const edited = await settled(
      () =>
        messages
          .findOneAndUpdate(
            { ...found.filter, 'edit.revision': found.message.edit?.revision ?? null },
            { $set: { edit }, $max: { schemaVersion: versions.turn } },
            { returnDocument: 'after' },
          )
          .lean<MessageDoc>(),
      async () => (await messages.findOne({ _id, 'edit.token': token }).lean<MessageDoc>()) ?? undefined,
    );
    if (!edited) continue;
    await copyEdit(messages, edited, null);
    return { kind: 'edited', revision: edit.revision };
  }
  return { kind: 'revision', revision: revision ?? 0 };
}

/** Makes the user's message say what the turn was asked at last. `userMessage`: as it was read, if it was. */
export async function copyEdit(
  messages: Model<MessageDoc>,
  { counterpart, edit }: MessageDoc,
  userMessage: Pick<UserMessageDoc, 'text'> | null,
): Promise<void> {
  if (!edit || userMessage?.text === edit.text) return;
  const copy = { $set: { text: edit.text, edit } };
  // Loses against a later edit that was copied already.
  const older = {
    $or: [{ 'edit.revision': null }, { 'edit.revision': mongoose.trusted({ $lt: edit.revision }) }],
  };
  await settled(
    async () => (await messages.updateOne({ _id: counterpart, ...older }, copy)).matchedCount,
    async () => undefined,
  );
}
