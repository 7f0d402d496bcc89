import { createHash } from 'node:crypto';
import type { FileRef, NewFile } from '../artifacts/attachment.ts';
import { maxSilentMs, piecesOf } from '../artifacts/content-pieces.ts';
import { metadataJson } from '../artifacts/file-metadata.ts';
import { checkSignal } from '../checking/check-signal.ts';
import { requireWellFormed } from '../checking/well-formed.ts';
import { FileTooLargeError, InvalidInputError, NotFoundError } from '../errors.ts';
import type { FileStore } from '../ports/file-store.ts';
import type { Clock } from '../timing/clock.ts';
import { memoryIds, stored } from './memory-ids.ts';

interface MemoryFile {
  readonly file: FileRef;
  readonly messageId: string;
  readonly content: Buffer;
  readonly storedAt: number;
}

const pieces = { maxPieceBytes: 255 * 1024, silentMs: maxSilentMs };

/** FileStore in memory. */
export class MemoryFileStore implements FileStore {
  readonly #files = new Map<string, MemoryFile>();
  readonly #clock: Clock;
  readonly #maxFileBytes: number;
  readonly #newId: () => string;

  constructor(clock: Clock, maxFileBytes = 10 * 1024 * 1024) {
    this.#clock = clock;
    this.#maxFileBytes = maxFileBytes;
    this.#newId = memoryIds(clock);
  }

  async attach(
    messageId: string,
    given: NewFile,
    signal?: AbortSignal,
  ): Promise<{ attached: boolean; file: FileRef }> {
    requireText('messageId', messageId);
    requireText('filename', given.filename);
    checkSignal(signal);
    const { filename, contentType, metadata = {} } = given;
    metadataJson(metadata);
    const known = this.#named(messageId, given.filename);
    if (known) return { attached: false, file: stored(known.file) };
    const content = await this.#contentOf(given, signal);
    // Somebody else may have brought one of that name meanwhile.
    const winner = this.#named(messageId, given.filename);
    if (winner) return { attached: false, file: stored(winner.file) };
    const sha256 = createHash('sha256').update(content).digest('hex');
    const file = stored({
      fileId: this.#newId(),
      filename,
      contentType,
      bytes: content.byteLength,
      sha256,
      metadata,
    });
    this.#files.set(file.fileId, { file, messageId, content, storedAt: this.#clock.now() });
    return { attached: true, file: stored(file) };
  }

  async list(messageId: string): Promise<readonly FileRef[]> {
    requireText('messageId', messageId);
    const files = [...this.#files.values()]
      .filter((one) => one.messageId === messageId)
      .map(({ file }) => stored(file));
    return files.sort((a, b) => (a.filename < b.filename ? -1 : 1));
  }

  async stored({ from, to, limit }: Parameters<FileStore['stored']>[0]): ReturnType<FileStore['stored']> {
    return [...this.#files.values()]
      .filter(({ storedAt }) => storedAt >= from && storedAt < to)
      .slice(0, Math.max(1, limit))
      .map(({ file, messageId }) => ({ fileId: file.fileId, messageId }));
  }

  async remove(fileId: string): Promise<boolean> {
    return this.#files.delete(fileId);
  }

  async *read(fileId: string, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    checkSignal(signal);
    signal?.throwIfAborted();
    const found = this.#files.get(fileId);
    if (!found) throw new NotFoundError('file', String(fileId));
    yield* piecesOf(found.content, pieces, signal);
  }

  #named(messageId: string, filename: string): MemoryFile | undefined {
    return [...this.#files.values()].find(
      (one) => one.messageId === messageId && one.file.filename === filename,
    );
  }

  async #contentOf({ filename, content }: NewFile, signal: AbortSignal | undefined): Promise<Buffer> {
    const read: Uint8Array[] = [];
    let bytes = 0;
    for await (const piece of piecesOf(content, pieces, signal)) {
      bytes += piece.byteLength;
      if (bytes > this.#maxFileBytes) throw new FileTooLargeError(filename, this.#maxFileBytes);
      read.push(piece);
    }
    return Buffer.concat(read);
  }
}

function requireText(field: string, value: unknown): void {
  if (typeof value !== 'string' || value === '')
    throw new InvalidInputError(field, 'must be a string, not empty');
  requireWellFormed(field, value);
}
