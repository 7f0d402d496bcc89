/**
 * Ids of conversations, which are whatever `_id` the host's model has: as text, which is all that turns know of them, and as a
 * name that is safe everywhere. For each type of id the text is one to one: what is no id of that type has none, and two ids
 * never have the same. What goes into a query is made of the text again, so that no operator can stand in an id's place.
 */
import { createHash } from 'node:crypto';
import path from 'node:path';
import { kindOf } from '../checking/kind-of.ts';
import { InvalidInputError } from '../errors.ts';

/** What the `_id` of a conversation may be, as Mongoose names it. */
export type ConversationIdType = 'ObjectId' | 'String' | 'Number' | 'UUID' | 'BigInt';

/** The longest id of the type `String`, in UTF-8 bytes. */
const maxIdBytes = 200;

const forms: Record<ConversationIdType, { expected: string; textOf(value: unknown): string | undefined }> = {
  ObjectId: {
    expected: '24 hex digits or an ObjectId',
    textOf: (value) => objectIdText(typeof value === 'string' ? value : hexOfObjectId(value)),
  },
  String: {
    expected: `a string of 1 to ${maxIdBytes} bytes of UTF-8, without half characters`,
    // An ObjectId, too: Mongoose stores its digits for one.
    textOf: (value) => (typeof value === 'string' ? ownText(value) : objectIdText(hexOfObjectId(value))),
  },
  Number: {
    expected: 'a whole number, at most 2 ** 53 - 1, or its digits',
    textOf: (value) => integerText(value, (whole) => Number.isSafeInteger(Number(whole))),
  },
  UUID: { expected: 'a UUID, or its 36 characters', textOf: uuidText },
  BigInt: {
    expected: 'a whole number of 64 bits, or its digits',
    textOf: (value) => integerText(value, (whole) => BigInt.asIntN(64, whole) === whole),
  },
};

/** The types, for people. */
export const conversationIdTypes = Object.keys(forms).join(', ');

export const isIdType = (value: unknown): value is ConversationIdType =>
  typeof value === 'string' && Object.hasOwn(forms, value);

/** The text of an id of that type, of whichever version of BSON; undefined for what is none. */
export const idText = (type: ConversationIdType, value: unknown): string | undefined =>
  forms[type].textOf(value);

/**
 * The id of a conversation given as document, id or text. Objects with operators in place of an id are refused, and so is whatever only
 * says that it is an id: JSON can claim `_bsontype`, but holds no functions. Throws InvalidInputError.
 */
export function conversationIdOf(value: unknown, type: ConversationIdType = 'ObjectId'): string {
  const id = idText(type, value) ?? idText(type, property(value, '_id'));
  if (id !== undefined) return id;
  throw new InvalidInputError(
    'conversation',
    `must be a conversation's id (${forms[type].expected}) or document, not ${kindOf(value)}`,
  );
}

/** The text itself, where it is that of an id. Throws InvalidInputError. */
export function requireIdText(type: ConversationIdType, text: unknown): string {
  if (typeof text === 'string' && idText(type, text) === text) return text;
  throw new InvalidInputError(
    'conversation',
    `must be the text of an id (${forms[type].expected}), not ${kindOf(text)}`,
  );
}

/** Of an id as it is stored, whichever type it is of; empty for what is none. */
export function storedIdText(value: unknown): string {
  if (typeof value === 'string') return value;
  return objectIdText(hexOfObjectId(value)) ?? idText('BigInt', value) ?? uuidText(value) ?? '';
}

/** As all ids of ours are, and those of most hosts. */
export const isObjectIdText = (text: string): boolean => /^[0-9a-f]{24}$/.test(text);

/**
 * An id as (a part of) a key, a lock's name, a folder, metadata: 24 hex digits as they are. Of any other a hash, since what a host
 * takes for an id may be a path, an address or 200 bytes of anything, may say what is nobody's business, and may
 * differ by case alone, which some disks do not tell apart. `within` says in which world: ids of a host's own begin at 1 in each.
 */
export function safeName(id: string, ...within: readonly string[]): string {
  if (isObjectIdText(id)) return id;
  const hash = createHash('sha256').update(JSON.stringify([id, ...within]));
  return `id-${hash.digest('hex').slice(0, 40)}`;
}

/** Where a conversation's agent works by default. Deployments and models whose ids are alike may share a sandbox root. */
export const ownDirectory = (
  { sandboxRoot, prefix }: { readonly sandboxRoot: string; readonly prefix: string },
  { collection }: { readonly collection: string },
  id: string,
): string => path.join(sandboxRoot, safeName(id, prefix, collection));

const objectIdText = (hex: unknown): string | undefined =>
  typeof hex === 'string' && /^[0-9a-f]{24}$/i.test(hex) ? hex.toLowerCase() : undefined;

function hexOfObjectId(value: unknown): unknown {
  const kind = property(value, '_bsontype');
  // BSON before version 5 wrote it the other way.
  return kind === 'ObjectId' || kind === 'ObjectID' ? called(value, 'toHexString') : undefined;
}

const ownText = (text: string): string | undefined =>
  text !== '' && Buffer.byteLength(text) <= maxIdBytes && !/\p{Surrogate}/u.test(text) ? text : undefined;

const longest = '-9223372036854775808'.length;

/** Of a number, a bigint, BSON's own ones, or digits; only as it is written by all of them: not `007`, not `1e3`. */
function integerText(value: unknown, fits: (whole: bigint) => boolean): string | undefined {
  const isOwn = ['Long', 'Int32', 'Double'].includes(String(property(value, '_bsontype')));
  const given = isOwn ? called(value, 'toString') : value;
  // Above this a number may be the rounding of another one.
  if (typeof given === 'number' && !Number.isSafeInteger(given)) return undefined;
  if (!['string', 'number', 'bigint'].includes(typeof given)) return undefined;
  const text = String(given);
  if (text.length > longest || !/^(0|-?[1-9]\d*)$/.test(text)) return undefined;
  return fits(BigInt(text)) ? text : undefined;
}

const uuidForm = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const uuidSubtype = 4;

function uuidText(value: unknown): string | undefined {
  if (typeof value === 'string') return uuidForm.test(value) ? value.toLowerCase() : undefined;
  if (property(value, '_bsontype') !== 'Binary' || property(value, 'sub_type') !== uuidSubtype)
    return undefined;
  const bytes = property(value, 'buffer');
  // BSON's buffer may be longer than what it holds.
  if (!ArrayBuffer.isView(bytes) || bytes.byteLength < 16 || property(value, 'position') !== 16)
    return undefined;
  const hex = Buffer.from(bytes.buffer, bytes.byteOffset, 16).toString('hex');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/** Of whatever a caller has passed on; a getter may throw. */
function property(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null) return undefined;
  try {
    return (value as Record<string, unknown>)[name];
  } catch {
    return undefined;
  }
}

function called(value: unknown, name: string): unknown {
  const method = property(value, name);
  if (typeof method !== 'function') return undefined;
  try {
    return method.call(value);
  } catch {
    return undefined;
  }
}
