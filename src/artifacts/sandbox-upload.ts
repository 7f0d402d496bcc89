import { createHash, randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, link, lstat, open, opendir, unlink } from 'node:fs/promises';
import path from 'node:path';
import { FileTooLargeError, IllegalStateError, UnsafeFileError } from '../errors.ts';
import { type FileContent, piecesOf } from './content-pieces.ts';
import { numbered, unfinishedPrefix } from './filenames.ts';
import type { Sandbox } from './sandbox.ts';
import { codeOf, descriptorPath, isInside } from './sandbox-file.ts';

const createFlags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
const maxPieceBytes = 256 * 1024;
/** Names tried before a file is refused. */
const maxNumber = 1_000;
/** What a killed worker left is removed by the next one, unless somebody may still be writing it. */
const abandonedAfterMs = 10 * 60_000;
/** Entries of the sandbox that are looked through for such files, and how often one upload does so. */
const maxEntries = 50_000;
const maxSweeps = 100;

/** `original` is what errors call it; `name` is the safe name that is wanted. */
export interface NewSandboxFile {
  readonly original: string;
  readonly name: string;
  readonly content: FileContent;
}

interface Written {
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
}

/**
 * Puts new files at the top level of one sandbox. A file appears there whole or not at all: it is written under
 * a name of its own and then linked to its final name, which fails when anything has that name already, a link
 * to nowhere too. Nothing that exists is followed, overwritten or removed.
 */
export class SandboxUpload {
  readonly #sandbox: Sandbox;
  readonly #root: string;
  #sweeps = 0;

  private constructor(sandbox: Sandbox, root: string) {
    this.#sandbox = sandbox;
    this.#root = root;
  }

  /** Throws IllegalStateError when there is no sandbox, UnsafeFileError when it is no folder. */
  static async into(sandbox: Sandbox): Promise<SandboxUpload> {
    const root = await sandbox.realPath();
    if (root === undefined) throw new IllegalStateError('an upload', 'the sandbox does not exist');
    const upload = new SandboxUpload(sandbox, root);
    await upload.#removeAbandoned();
    return upload;
  }

  /**
   * Copies the file under its name, or under that name with the first number that is free and not refused by
   * `mayTake`. A file that is there already with these very bytes is taken for it: whoever repeats an upload gets
   * the same names. Throws FileTooLargeError, UnsafeFileError, the signal's reason, what the content throws, and
   * the file system's errors; of this file nothing is left then.
   */
  async add(
    file: NewSandboxFile,
    mayTake: (name: string) => boolean,
    signal?: AbortSignal,
  ): Promise<{ name: string; bytes: number }> {
    const unfinished = path.join(this.#root, unfinishedPrefix + randomUUID());
    try {
      const written = await this.#write(unfinished, file, signal);
      for (let number = 1; number <= maxNumber; number += 1) {
        signal?.throwIfAborted();
        const candidate = numbered(file.name, number);
        if (mayTake(candidate) && (await this.#place(written, candidate, signal)))
          return { name: candidate, bytes: written.bytes };
      }
      throw new UnsafeFileError(file.original, `${maxNumber} files have that name`);
    } finally {
      await unlink(unfinished).catch(() => undefined);
    }
  }

  async #write(
    unfinished: string,
    { original, content }: NewSandboxFile,
    signal: AbortSignal | undefined,
  ): Promise<Written> {
    const { maxFileBytes } = this.#sandbox;
    const hash = createHash('sha256');
    let bytes = 0;
    const handle = await open(unfinished, createFlags);
    try {
      await this.#checkPlace(handle, original);
      for await (const piece of piecesOf(content, { maxPieceBytes }, signal)) {
        bytes += piece.byteLength;
        if (bytes > maxFileBytes) throw new FileTooLargeError(original, maxFileBytes);
        hash.update(piece);
        await handle.appendFile(piece);
      }
    } finally {
      await handle.close();
    }
    return { path: unfinished, bytes, sha256: hash.digest('hex') };
  }

  /** A sandbox that was swapped for a link after it was looked at: no byte is written to where that leads. */
  async #checkPlace(handle: FileHandle, original: string): Promise<void> {
    const place = await descriptorPath(handle);
    if (place !== undefined && !isInside(this.#root, place))
      throw new UnsafeFileError(original, 'the sandbox is not a folder any more');
  }

  /** False when something else has the name. */
  async #place(written: Written, name: string, signal: AbortSignal | undefined): Promise<boolean> {
    try {
      await link(written.path, path.join(this.#root, name));
      return true;
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw error;
      return this.#holds(name, written, signal);
    }
  }

  async #holds(name: string, { bytes, sha256 }: Written, signal: AbortSignal | undefined): Promise<boolean> {
    let file = await this.#sandbox.file(name);
    if (file && !file.safe && file.bytes === bytes && this.#sweeps < maxSweeps) {
      // Its second link may be of an upload like this one that is just ending, or was killed before it ended.
      await this.#removeAbandoned();
      file = await this.#sandbox.file(name);
    }
    if (file?.bytes !== bytes) return false;
    try {
      const content = await file.content(signal);
      return createHash('sha256').update(content).digest('hex') === sha256;
    } catch (error) {
      if (error instanceof UnsafeFileError || error instanceof FileTooLargeError) return false;
      throw error;
    }
  }

  /** With a second link the file has its final name, and its writer has nothing left to do with this one. */
  async #removeAbandoned(): Promise<void> {
    this.#sweeps += 1;
    let entries = 0;
    for await (const { name } of await opendir(this.#root, { bufferSize: 256 })) {
      entries += 1;
      if (entries > maxEntries) return;
      if (!name.startsWith(unfinishedPrefix)) continue;
      const unfinished = path.join(this.#root, name);
      const stats = await lstat(unfinished).catch(() => undefined);
      if (!stats?.isFile()) continue;
      if (stats.nlink > 1 || Date.now() - stats.mtimeMs > abandonedAfterMs)
        await unlink(unfinished).catch(() => undefined);
    }
  }
}
