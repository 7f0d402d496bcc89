/**
 * Files attached to a message, as everybody sees them: what is stored of one, what is given to store, and the
 * files of one message as those who attach see them.
 */
import type { FileContent } from './content-pieces.ts';

/** A file attached to a message. */
export interface FileRef {
  readonly fileId: string;
  readonly filename: string;
  readonly contentType: string;
  readonly bytes: number;
  readonly sha256: string;
  readonly metadata: Readonly<Record<string, unknown>>;
  /** A field whose stored value cannot be read; here it is empty. */
  readonly damaged?: string;
}

export interface NewFile {
  readonly filename: string;
  readonly contentType: string;
  readonly content: FileContent;
  readonly metadata?: Readonly<Record<string, unknown>>;
}

/** The files of one message. `attach` is idempotent by filename, also when two workers try at once. */
export interface Attachments {
  /** False, with the file that has the name, when there is one already. Throws FileTooLargeError and the store's errors. */
  attach(file: NewFile, signal?: AbortSignal): Promise<{ attached: boolean; file: FileRef }>;
  list(signal?: AbortSignal): Promise<readonly FileRef[]>;
  /** By id and not by name: a file that has taken the name meanwhile stays. False when it is gone already. */
  remove(fileId: string, signal?: AbortSignal): Promise<boolean>;
}
