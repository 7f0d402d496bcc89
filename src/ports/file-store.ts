import type { FileRef, NewFile } from '../artifacts/attachment.ts';

/** The attachments of one message. `attach` is idempotent by filename, also when two workers try at once. */
export interface FileStore {
  /** False when the message has a file of that name already. Throws FileTooLargeError; nothing is left behind then. */
  attach(
    messageId: string,
    file: NewFile,
    signal?: AbortSignal,
  ): Promise<{ attached: boolean; file: FileRef }>;
  /** One that cannot be read whole is among them, `damaged`. */
  list(messageId: string): Promise<readonly FileRef[]>;
  /** Files of all messages attached in that time (Unix ms), oldest first. */
  stored(range: {
    readonly from: number;
    readonly to: number;
    readonly limit: number;
  }): Promise<readonly { readonly fileId: string; readonly messageId: string }[]>;
  /** Removes the entry first and the bytes after it. False when there was none. */
  remove(fileId: string): Promise<boolean>;
  /** The bytes, in order. Throws NotFoundError; CorruptFileError, perhaps behind some of them. */
  read(fileId: string, signal?: AbortSignal): AsyncIterable<Uint8Array>;
}
