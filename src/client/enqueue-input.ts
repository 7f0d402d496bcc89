import { sandboxFilename } from '../artifacts/filenames.ts';
import type { UploadedFile } from '../artifacts/uploaded-files-prompt.ts';
import { requireWellFormed, wellFormed } from '../checking/well-formed.ts';
import { InvalidInputError, messageOf } from '../errors.ts';
import type { ReadyConversation } from '../turn/conversation.ts';

/** The longest text of a turn in UTF-8 bytes. */
export const maxTextBytes = 1024 * 1024;
const maxKeyLength = 200;
const maxFiles = 100;

/** The id of a conversation: 24 hex digits, or an ObjectId of any BSON version. */
export type ConversationId = string | { toHexString(): string };

/** A conversation: its id, or the document itself, lean or not. */
export type ConversationRef<R = ReadyConversation> =
  | ConversationId
  | (Readonly<R> & { readonly _id: unknown });

export interface EnqueueInput<R = ReadyConversation> {
  /** The conversation that owns the session. */
  readonly conversation: ConversationRef<R>;
  /** Half a character (a lone UTF-16 surrogate) becomes U+FFFD: what is returned is what is stored and sent. */
  readonly text: string;
  /** Name of a policy that the workers have registered. Default `default`. */
  readonly policy?: string;
  /** The same key again on the same conversation gives the turn of the first call. At most 200 characters. */
  readonly idempotencyKey?: string;
  /** What to do when the conversation has a turn waiting or running: line up (default), or throw TurnBusyError. */
  readonly onBusy?: 'enqueue' | 'reject';
  /**
   * Files for the agent, at most 100 of at most 10 MiB each. They are stored before the turn is. A stream that says nothing for
   * 30 s, or has not ended after ten minutes, or fails, is an InvalidInputError, and nothing is stored.
   */
  readonly files?: readonly UploadedFile[];
}

export interface CheckedInput {
  readonly conversationId: string;
  readonly text: string;
  readonly policy: string;
  readonly idempotencyKey?: string;
  readonly onBusy: 'enqueue' | 'reject';
  readonly files: readonly UploadedFile[];
}

/** Checks everything that can be checked without a database. Throws InvalidInputError that names the field. */
export function checkEnqueueInput(input: EnqueueInput<never>): CheckedInput {
  if (typeof input !== 'object' || input === null) {
    throw new InvalidInputError('input', 'must be an object: { conversation, text }');
  }
  const { idempotencyKey, onBusy = 'enqueue' } = input;
  if (onBusy !== 'enqueue' && onBusy !== 'reject') {
    throw new InvalidInputError('onBusy', 'must be "enqueue" or "reject"');
  }
  return {
    conversationId: conversationIdOf(input.conversation),
    text: checkText(input.text),
    policy: checkName('policy', input.policy ?? 'default'),
    onBusy,
    files: checkFiles(input.files ?? []),
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
  return wellFormed(text);
}

function checkFiles(files: unknown): readonly UploadedFile[] {
  if (!Array.isArray(files) || files.length > maxFiles)
    throw new InvalidInputError('files', `must be a list of at most ${maxFiles}`);
  for (const [at, file] of files.entries()) {
    const { filename, contentType, content } = (file ?? {}) as Partial<UploadedFile>;
    checkName(`files.${at}.filename`, filename);
    checkName(`files.${at}.contentType`, contentType);
    checkLeadsNowhere(at, filename as string);
    const bytes = content instanceof Uint8Array;
    if (!bytes && typeof (content as AsyncIterable<Uint8Array>)?.[Symbol.asyncIterator] !== 'function')
      throw new InvalidInputError(
        `files.${at}.content`,
        'must be a Buffer, a Uint8Array, or a stream of them or of strings',
      );
  }
  return files;
}

function checkLeadsNowhere(at: number, filename: string): void {
  try {
    sandboxFilename(filename);
  } catch (cause) {
    throw new InvalidInputError(`files.${at}.filename`, messageOf(cause), { cause });
  }
}

function checkName(field: string, value: unknown): string {
  if (typeof value !== 'string' || value === '' || value.length > maxKeyLength)
    throw new InvalidInputError(field, `must be a string of 1 to ${maxKeyLength} characters`);
  requireWellFormed(field, value);
  return value;
}

/**
 * The id of a conversation given as string, ObjectId of any BSON version, or document. Objects with operators in place of an
 * id are refused, and so is whatever only says that it is an id: JSON can claim `_bsontype`, but holds no functions.
 */
export function conversationIdOf(value: unknown): string {
  const id = hexOf(value) ?? hexOf(property(value, '_id'));
  if (id !== undefined) return id;
  throw new InvalidInputError(
    'conversation',
    `must be a conversation's id or document, not ${kindOf(value)}`,
  );
}

function hexOf(value: unknown): string | undefined {
  const hex = typeof value === 'string' ? value : hexOfObjectId(value);
  return typeof hex === 'string' && /^[0-9a-f]{24}$/i.test(hex) ? hex.toLowerCase() : undefined;
}

function hexOfObjectId(value: unknown): unknown {
  const kind = property(value, '_bsontype');
  // BSON before version 5 wrote it the other way.
  if (kind !== 'ObjectId' && kind !== 'ObjectID') return undefined;
  try {
    return (value as { toHexString?: () => unknown }).toHexString?.();
  } catch {
    return undefined;
  }
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

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (typeof value === 'string') return `the string ${JSON.stringify(value.slice(0, 40))}`;
  return Array.isArray(value) ? 'an array' : `a value of type ${typeof value}`;
}
