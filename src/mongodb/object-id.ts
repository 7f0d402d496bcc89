import mongoose from 'mongoose';
import { InvalidInputError } from '../errors.ts';

/** Ids never reach a query as anything but an ObjectId: no operator can stand in their place. */
export function objectId(value: string, field: string): mongoose.Types.ObjectId {
  if (typeof value === 'string' && /^[0-9a-f]{24}$/i.test(value)) return new mongoose.Types.ObjectId(value);
  throw new InvalidInputError(field, 'must be a string of 24 hex digits');
}

/**
 * A conversation's id for a query on its model, which makes its own kind of id of the text: a host's model may come with a
 * driver of its own, which refuses the ids of ours.
 */
export function conversationKey(conversationId: string): string {
  return String(objectId(conversationId, 'conversation'));
}
