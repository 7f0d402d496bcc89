import mongoose from 'mongoose';
import { InvalidInputError } from '../errors.ts';

/** Ids of ours never reach a query as anything but an ObjectId: no operator can stand in their place. */
export function objectId(value: string, field: string): mongoose.Types.ObjectId {
  if (typeof value === 'string' && /^[0-9a-f]{24}$/i.test(value)) return new mongoose.Types.ObjectId(value);
  throw new InvalidInputError(field, 'must be a string of 24 hex digits');
}
