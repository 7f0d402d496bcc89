import type { FileRef } from '../artifacts/attachment.ts';
import { type FileContent, piecesOf } from '../artifacts/content-pieces.ts';
import { numbered } from '../artifacts/filenames.ts';
import type { UploadedFile } from '../artifacts/uploaded-files-prompt.ts';
import { InvalidInputError, isTurnsError, messageOf } from '../errors.ts';
import type { FileStore } from '../ports/file-store.ts';
import { within } from '../timing/time-limit.ts';

export interface UploadBounds {
  /** How long the stream of one file may say nothing. */
  readonly silentMs: number;
  /** How long one file may take from its beginning to its end. */
  readonly wholeMs: number;
}

const defaultBounds: UploadBounds = { silentMs: 30_000, wholeMs: 600_000 };
/** As large as what is stored of it at once. */
const maxPieceBytes = 255 * 1024;

/**
 * Stores a user's files for a message that is not stored yet: a turn is at no time without its files. The same
 * name twice becomes two names. When one fails, none is left; when the process dies, the sweeper finds them.
 * Throws FileTooLargeError, ServiceUnavailableError, and InvalidInputError for a content that fails, yields what is neither
 * bytes nor text, or does not come to its end in time.
 */
export async function storeFiles(
  files: FileStore,
  messageId: string,
  uploads: readonly UploadedFile[],
  bounds: UploadBounds = defaultBounds,
): Promise<readonly FileRef[]> {
  const stored: FileRef[] = [];
  const taken = new Set<string>();
  try {
    for (const [at, { filename, contentType, content }] of uploads.entries()) {
      let name = filename;
      for (let number = 2; taken.has(name); number += 1) name = numbered(filename, number);
      taken.add(name);
      const source = new UploadSource(`files.${at}.content`, content, bounds);
      const metadata = { source: 'upload' };
      const attach = (limit: AbortSignal) =>
        files.attach(
          messageId,
          { filename: name, contentType, content: source.pieces(limit), metadata },
          limit,
        );
      const { file } = await within(bounds.wholeMs, (limit) => source.told(attach(limit), limit));
      stored.push(file);
    }
    return stored;
  } catch (error) {
    await removeFiles(files, stored).catch(() => undefined);
    throw error;
  }
}

/** What a caller gives for one file's content, whose failures are the caller's and named after its field. */
class UploadSource {
  readonly #field: string;
  readonly #content: FileContent;
  readonly #bounds: UploadBounds;

  constructor(field: string, content: FileContent, bounds: UploadBounds) {
    this.#field = field;
    this.#content = content;
    this.#bounds = bounds;
  }

  async *pieces(limit: AbortSignal): AsyncGenerator<Uint8Array> {
    const { silentMs } = this.#bounds;
    try {
      yield* piecesOf(this.#content, { maxPieceBytes, silentMs }, limit);
    } catch (cause) {
      if (limit.aborted && cause === limit.reason) throw cause;
      if (cause instanceof InvalidInputError) throw this.#refused(cause.problem, cause.cause);
      throw isTurnsError(cause) ? cause : this.#refused(`its stream failed: ${messageOf(cause)}`, cause);
    }
  }

  /** The outcome, or what was wrong with the content when the time for all of it is over. */
  async told<T>(attached: Promise<T>, limit: AbortSignal): Promise<T> {
    try {
      return await attached;
    } catch (error) {
      if (!limit.aborted || error !== limit.reason) throw error;
      throw this.#refused(`did not come to its end within ${this.#bounds.wholeMs} ms`, error);
    }
  }

  #refused(problem: string, cause: unknown): InvalidInputError {
    return new InvalidInputError(this.#field, problem, { cause });
  }
}

export async function removeFiles(files: FileStore, uploads: readonly FileRef[]): Promise<void> {
  for (const { fileId } of uploads) await files.remove(fileId);
}
