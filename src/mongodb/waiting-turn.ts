import type { Model, Types } from 'mongoose';
import { NotFoundError } from '../errors.ts';
import { assertReadable } from '../turn/versions.ts';
import type { MessageDoc } from './models.ts';
import { objectId } from './object-id.ts';
import { readableVersion } from './readable-version.ts';

/** Matches a turn as long as no worker has claimed it. */
export const unclaimed = (_id: Types.ObjectId): Record<string, unknown> => ({
  _id,
  role: 'assistant',
  status: 'pending',
  'run.epoch': 0,
  ...readableVersion(),
});

/** A turn that no worker has claimed, and what matches it as long as that is so; or what has become of it. */
export type WaitingState =
  | {
      readonly kind: 'waiting';
      readonly message: MessageDoc;
      readonly filter: Record<string, unknown>;
    }
  | { readonly kind: 'started' | 'finished' };

const fields = {
  conversation: 1,
  schemaVersion: 1,
  status: 1,
  sequence: 1,
  position: 1,
  edit: 1,
  counterpart: 1,
  'run.epoch': 1,
} as const;

/** Throws NotFoundError, NewerVersionError. */
export async function waitingState(messages: Model<MessageDoc>, turnId: string): Promise<WaitingState> {
  const _id = objectId(turnId, 'turnId');
  const message = await messages.findOne({ _id, role: 'assistant' }, fields).lean<MessageDoc>();
  if (!message) throw new NotFoundError('turn', turnId);
  assertReadable('turn', turnId, message.schemaVersion);
  if (message.status !== 'pending') return { kind: 'finished' };
  if ((message.run?.epoch ?? 0) > 0) return { kind: 'started' };
  return { kind: 'waiting', message, filter: unclaimed(_id) };
}
