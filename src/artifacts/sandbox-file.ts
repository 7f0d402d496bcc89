import { type BigIntStats, constants } from 'node:fs';
import { type FileHandle, lstat, open, readlink, realpath } from 'node:fs/promises';
import path from 'node:path';
import { FileTooLargeError, UnsafeFileError } from '../errors.ts';
import { contentTypeOf } from './content-type.ts';
import { isDeceiving } from './filenames.ts';

/** Where one scan goes. `root` and `directory` are real paths; they differ for a file of a sub-folder. */
export interface SandboxPlace {
  readonly root: string;
  readonly directory: string;
  readonly filename: string;
  readonly maxFileBytes: number;
}

/**
 * Never a link at the end of the path, and never a wait: without O_NONBLOCK a FIFO waits for a writer, and a
 * file under a lease for its holder.
 */
const openFlags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY;

/** Read at a time; an abort is heard, and the cap checked, between two of these. */
const chunkBytes = 256 * 1024;

/**
 * One file of a sandbox, as it was when it was looked at, and its bytes as long as it is still that file.
 *
 * The agent that works in the sandbox is not trusted: it may put anything under any name, and change it between
 * the scan and the read. Safe is a regular file under a name that is what it looks like, no symbolic link, with
 * one hard link, whose real path is inside the sandbox, and of at most `maxFileBytes`. `content` opens without
 * following or waiting and checks all of it again on what it has opened, before a byte is read.
 */
export class SandboxFile {
  readonly filename: string;
  /** Unix ms, from the file system: the agent can set it to anything. */
  readonly modifiedAt: number;
  readonly bytes: number;
  /** Why the scan refused the file. `content` throws it. */
  readonly problem: UnsafeFileError | FileTooLargeError | undefined;
  readonly #place: SandboxPlace;
  readonly #seen: BigIntStats;

  private constructor(place: SandboxPlace, seen: BigIntStats) {
    this.filename = place.filename;
    this.modifiedAt = Number(seen.mtimeNs) / 1e6;
    this.bytes = Number(seen.size);
    this.problem = problemOf(place, seen);
    this.#place = place;
    this.#seen = seen;
  }

  /** Undefined when nothing is there. Opens nothing. Throws UnsafeFileError when nobody may look there. */
  static async find(place: SandboxPlace): Promise<SandboxFile | undefined> {
    try {
      const stats = await lstat(path.join(place.directory, place.filename), { bigint: true });
      return new SandboxFile(place, stats);
    } catch (error) {
      if (isAbsence(error)) return undefined;
      throw refusal(place.filename, error);
    }
  }

  /** What the scan found; `content` can still refuse. */
  get safe(): boolean {
    return this.problem === undefined;
  }

  /** By the extension; application/octet-stream when that says nothing. */
  get contentType(): string {
    return contentTypeOf(this.filename);
  }

  /**
   * The bytes. Throws UnsafeFileError with the broken rule, FileTooLargeError also when the file grew past the
   * cap while it was read, and the signal's reason. May be called again; each call reads anew.
   *
   * Where the system has /proc (Linux), the place of the opened descriptor is asked for, so that no swap of a
   * folder for a link can lead outside. Elsewhere the path is resolved again and must lead to the same inode,
   * which leaves whoever swaps a folder at three exact moments a gap.
   */
  async content(signal?: AbortSignal): Promise<Buffer> {
    if (this.problem) throw this.problem;
    const handle = await this.#open();
    try {
      await this.#checkOpened(handle);
      return await this.#read(handle, signal);
    } finally {
      await handle.close();
    }
  }

  get #path(): string {
    return path.join(this.#place.directory, this.filename);
  }

  async #open(): Promise<FileHandle> {
    try {
      return await open(this.#path, openFlags);
    } catch (error) {
      throw refusal(this.filename, error);
    }
  }

  async #checkOpened(handle: FileHandle): Promise<void> {
    const opened = await handle.stat({ bigint: true });
    const problem = problemOf(this.#place, opened);
    if (problem) throw problem;
    if (!isSame(opened, this.#seen)) throw this.#refused('it was replaced after it was looked at');
    const place = (await descriptorPath(handle)) ?? (await this.#resolvedPath(opened));
    if (!isInside(this.#place.root, place)) throw this.#refused('it is outside the sandbox');
  }

  async #resolvedPath(opened: BigIntStats): Promise<string> {
    try {
      const resolved = await realpath(this.#path);
      if (isSame(opened, await lstat(resolved, { bigint: true }))) return resolved;
    } catch (error) {
      throw refusal(this.filename, error);
    }
    throw this.#refused('it was replaced while it was opened');
  }

  async #read(handle: FileHandle, signal: AbortSignal | undefined): Promise<Buffer> {
    const { maxFileBytes } = this.#place;
    const pieces: Buffer[] = [];
    for (let bytes = 0; bytes <= maxFileBytes; ) {
      signal?.throwIfAborted();
      const piece = Buffer.allocUnsafe(Math.min(chunkBytes, maxFileBytes + 1 - bytes));
      const { bytesRead } = await handle.read(piece, 0, piece.length, null);
      if (bytesRead === 0) return Buffer.concat(pieces, bytes);
      pieces.push(piece.subarray(0, bytesRead));
      bytes += bytesRead;
    }
    throw new FileTooLargeError(this.filename, maxFileBytes);
  }

  #refused(rule: string): UnsafeFileError {
    return new UnsafeFileError(this.filename, rule);
  }
}

/** True when `place`, a real path, is below `root`; /box-10 is not inside /box-1. */
export function isInside(root: string, place: string): boolean {
  return place.startsWith(root.endsWith(path.sep) ? root : root + path.sep);
}

/** The name is not there, or cannot be (too long, below something that is no folder). */
export function isAbsence(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR', 'ENAMETOOLONG'].includes(codeOf(error));
}

/** What the file system refused, as the broken rule; its other errors (too many open files, a bad disk) as they are. */
export function refusal(filename: string, error: unknown): unknown {
  const rule = refusals[codeOf(error)];
  return rule === undefined ? error : new UnsafeFileError(filename, rule, { cause: error });
}

const refusals: Readonly<Record<string, string>> = {
  EACCES: 'it may not be read',
  EAGAIN: 'somebody holds a lease on it',
  EISDIR: 'it is a folder',
  ELOOP: 'it is a symbolic link',
  ENOENT: 'it is no longer there',
  ENOTDIR: 'it is no longer there',
  ENXIO: 'it is not a regular file',
  EPERM: 'it may not be read',
};

function problemOf({ filename, maxFileBytes }: SandboxPlace, stats: BigIntStats) {
  const rule = brokenRule(filename, stats);
  if (rule !== undefined) return new UnsafeFileError(filename, rule);
  return stats.size > maxFileBytes ? new FileTooLargeError(filename, maxFileBytes) : undefined;
}

function brokenRule(filename: string, stats: BigIntStats): string | undefined {
  if (isDeceiving(filename)) return 'its name holds characters that deceive';
  if (stats.isSymbolicLink()) return 'it is a symbolic link';
  if (stats.isDirectory()) return 'it is a folder';
  if (!stats.isFile()) return 'it is not a regular file';
  return stats.nlink === 1n ? undefined : `it has ${stats.nlink} hard links`;
}

const isSame = (a: BigIntStats, b: BigIntStats) => a.dev === b.dev && a.ino === b.ino;

/** The kernel's word for where an opened file is; undefined on systems that do not tell it. */
export async function descriptorPath(handle: FileHandle): Promise<string | undefined> {
  try {
    return await readlink(`/proc/self/fd/${handle.fd}`);
  } catch (error) {
    if (isAbsence(error)) return undefined;
    throw error;
  }
}

export function codeOf(error: unknown): string {
  return typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : '';
}
