import { randomBytes, randomUUID } from 'node:crypto';
import { InvalidInputError } from '../errors.ts';
import type { Clock } from '../timing/clock.ts';
import type { ConversationIdType } from '../turn/conversation-id.ts';

/** Ids in the form that MongoDB's have (24 hex digits), ascending within a process. */
export function memoryIds(clock: Clock): () => string {
  const process = randomBytes(5).toString('hex');
  let count = 0;
  return () => {
    count += 1;
    return hex(Math.floor(clock.now() / 1_000), 8) + process + hex(count, 6);
  };
}

/** Ids of conversations, as a model with that type of `_id` could have them. */
export function memoryConversationIds(type: ConversationIdType, clock: Clock): () => string {
  if (type === 'UUID') return randomUUID;
  if (type === 'ObjectId' || type === 'String') return memoryIds(clock);
  let count = 0;
  return () => {
    count += 1;
    return String(count);
  };
}

const hex = (value: number, digits: number) => value.toString(16).padStart(digits, '0').slice(-digits);

/** Refuses what cannot be an id, as the stores on MongoDB do. */
export function checkId(value: unknown, field: string): string {
  if (typeof value === 'string' && /^[0-9a-f]{24}$/i.test(value)) return value.toLowerCase();
  throw new InvalidInputError(field, 'must be a string of 24 hex digits');
}

/** As it comes back from a database: a copy of its own, without what JSON does not hold. */
export const stored = <T>(value: T): T => JSON.parse(JSON.stringify(value));
