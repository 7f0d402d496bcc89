import { sandboxFilename } from '../artifacts/filenames.ts';
import type { UploadedFile } from '../artifacts/uploaded-files-prompt.ts';
import { kindOf } from '../checking/kind-of.ts';
import { requireWellFormed, wellFormed } from '../checking/well-formed.ts';
import { InvalidInputError, messageOf } from '../errors.ts';
import type { ReadyConversation } from '../turn/conversation.ts';
import { type ConversationIdType, conversationIdOf } from '../turn/conversation-id.ts';

/** The longest text of a turn in UTF-8 bytes. */
export const maxTextBytes = 1024 * 1024;
const maxKeyLength = 200;
const maxFiles = 100;

/** The id of a conversation: as its model has it (an ObjectId of any BSON version, a UUID, a plain value), or its text. */
export type ConversationId<R = ReadyConversation> =
  | string
  | (R extends { readonly _id?: infer Id }
      ? NonNullable<Id> extends string | number | bigint
        ? NonNullable<Id>
        : { toHexString(): string }
      : { toHexString(): string });

/** A conversation: its id, or the document itself, lean or not. */
export type ConversationRef<R = ReadyConversation> =
  | ConversationId<R>
  | (Readonly<R> & { readonly _id: unknown });

export type OnBusy = 'enqueue' | 'reject' | 'interrupt';

export interface EnqueueInput<R = ReadyConversation> {
  /** The conversation that owns the session. */
  readonly conversation: ConversationRef<R>;
  /** Half a character (a lone UTF-16 surrogate) becomes U+FFFD: what is returned is what is stored and sent. */
  readonly text: string;
  /** Name of a policy that the workers have registered. Default `default`. */
  readonly policy?: string;
  /** The same key again on the same conversation gives the turn of the first call. At most 200 characters. */
  readonly idempotencyKey?: string;
  /**
   * What to do when the conversation has a turn waiting or running: line up (default); throw TurnBusyError (`reject`); or go next,
   * ahead of all that wait, in place of what runs, which is stopped as if by `cancel` (`interrupt`).
   */
  readonly onBusy?: OnBusy;
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
  readonly onBusy: OnBusy;
  readonly files: readonly UploadedFile[];
}

/** Checks everything that can be checked without a database. Throws InvalidInputError that names the field. */
export function checkEnqueueInput(
  input: EnqueueInput<never>,
  idType: ConversationIdType = 'ObjectId',
): CheckedInput {
  if (typeof input !== 'object' || input === null) {
    throw new InvalidInputError('input', 'must be an object: { conversation, text }');
  }
  const { idempotencyKey, onBusy = 'enqueue' } = input;
  if (!['enqueue', 'reject', 'interrupt'].includes(onBusy))
    throw new InvalidInputError('onBusy', 'must be "enqueue", "reject" or "interrupt"');
  return {
    conversationId: conversationIdOf(input.conversation, idType),
    text: checkText(input.text),
    policy: checkName('policy', input.policy ?? 'default'),
    onBusy,
    files: checkFiles(input.files ?? []),
    ...(idempotencyKey === undefined ? {} : { idempotencyKey: checkName('idempotencyKey', idempotencyKey) }),
  };
}

export function checkText(text: unknown): string {
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
