import { InvalidInputError } from '../errors.ts';

/** The longest text of a turn in UTF-8 bytes. */
export const maxTextBytes = 1024 * 1024;
const maxKeyLength = 200;

export interface EnqueueInput {
  /** The record that owns the session: its id (24 hex digits), an ObjectId, or the document itself. */
  readonly conversation: unknown;
  readonly text: string;
  /** Name of a policy that the workers have registered. Default `default`. */
  readonly policy?: string;
  /** The same key again on the same record gives the turn of the first call. At most 200 characters. */
  readonly idempotencyKey?: string;
  /** What to do when the record has a turn waiting or running: line up (default), or throw TurnBusyError. */
  readonly onBusy?: 'enqueue' | 'reject';
}

export interface CheckedInput {
  readonly recordId: string;
  readonly text: string;
  readonly policy: string;
  readonly idempotencyKey?: string;
  readonly onBusy: 'enqueue' | 'reject';
}

/** Checks everything that can be checked without a database. Throws InvalidInputError that names the field. */
export function checkEnqueueInput(input: EnqueueInput): CheckedInput {
  if (typeof input !== 'object' || input === null) {
    throw new InvalidInputError('input', 'must be an object: { conversation, text }');
  }
  const { idempotencyKey, onBusy = 'enqueue' } = input;
  if (onBusy !== 'enqueue' && onBusy !== 'reject') {
    throw new InvalidInputError('onBusy', 'must be "enqueue" or "reject"');
  }
  return {
    recordId: recordIdOf(input.conversation),
    text: checkText(input.text),
    policy: checkName('policy', input.policy ?? 'default'),
    onBusy,
    ...(idempotencyKey === undefined ? {} : { idempotencyKey: checkName('idempotencyKey', idempotencyKey) }),
  };
}

function checkText(text: unknown): string {
  if (typeof text !== 'string') throw new InvalidInputError('text', `must be a string, not ${kindOf(text)}`);
  if (text.trim() === '') throw new InvalidInputError('text', 'must not be empty');
  const bytes = Buffer.byteLength(text);
  if (bytes > maxTextBytes) {
    throw new InvalidInputError(
      'text',
      `is ${bytes} bytes, at most ${maxTextBytes}; send long material as a file`,
    );
  }
  return text;
}

function checkName(field: string, value: unknown): string {
  if (typeof value === 'string' && value !== '' && value.length <= maxKeyLength) return value;
  throw new InvalidInputError(field, `must be a string of 1 to ${maxKeyLength} characters`);
}

/** The id of a record given as string, ObjectId or document. Objects with operators in place of an id are refused. */
export function recordIdOf(value: unknown): string {
  const id = typeof value === 'object' && value !== null && '_id' in value ? value._id : value;
  if (typeof id === 'string' && /^[0-9a-f]{24}$/i.test(id)) return id.toLowerCase();
  if (typeof id === 'object' && id !== null && '_bsontype' in id && id._bsontype === 'ObjectId')
    return String(id);
  throw new InvalidInputError('conversation', `must be a record's id or document, not ${kindOf(id)}`);
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (typeof value === 'string') return `the string ${JSON.stringify(value.slice(0, 40))}`;
  return Array.isArray(value) ? 'an array' : `a value of type ${typeof value}`;
}
