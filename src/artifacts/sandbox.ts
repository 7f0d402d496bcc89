import { lstat, opendir, realpath } from 'node:fs/promises';
import path from 'node:path';
import { UnsafeFileError } from '../errors.ts';
import { isBasename, unfinishedPrefix } from './filenames.ts';
import { isAbsence, isInside, refusal, SandboxFile } from './sandbox-file.ts';

export interface SandboxOptions {
  /** Larger files are refused. Default 10 MiB. */
  readonly maxFileBytes?: number;
  /** A listing holds at most this many files, and as many refused ones. Default 1,000. */
  readonly maxFiles?: number;
  /** A listing looks at no more entries of the folder than this. Default 50,000. */
  readonly maxEntries?: number;
}

/** What one scan at the top level of a sandbox found. Nothing is left out without a figure here that tells it. */
export interface SandboxListing {
  /** Safe and fresh; the most recently modified first, then by name. */
  readonly files: readonly SandboxFile[];
  /** Fresh, but not safe, in the same order; each one's `problem` says why. Folders are none of these. */
  readonly refused: readonly SandboxFile[];
  /** Fresh files, safe or not, that the lists above had no room for, and all files whose name is not UTF-8. */
  readonly leftOut: number;
  /** False when the folder has more than `maxEntries` entries: those beyond were not looked at. */
  readonly complete: boolean;
}

/** How far the clock of a file system may be behind ours. */
const clockSlackMs = 2_000;

/** Scans under way at once: enough to keep the thread pool busy, too few to keep others from it. */
const scansAtOnce = 16;

/**
 * The folder that the agent of one conversation works in, as seen by somebody who does not trust that agent: every
 * file is handed out as a SandboxFile, which is read under the rules written there. Reads, never writes.
 *
 * A link above the sandbox is the host's own; the sandbox itself must be a folder and no link, since an agent
 * could have put that link there: all methods but `exists` throw UnsafeFileError then.
 */
export class Sandbox {
  readonly path: string;
  readonly maxFileBytes: number;
  readonly #maxFiles: number;
  readonly #maxEntries: number;

  constructor(directory: string, options: SandboxOptions = {}) {
    this.path = path.resolve(directory);
    this.maxFileBytes = options.maxFileBytes ?? 10 * 1024 * 1024;
    this.#maxFiles = options.maxFiles ?? 1_000;
    this.#maxEntries = options.maxEntries ?? 50_000;
  }

  /** False also when something that is no folder has its name. */
  async exists(): Promise<boolean> {
    try {
      return (await lstat(this.path)).isDirectory();
    } catch (error) {
      if (isAbsence(error)) return false;
      throw refusal(path.basename(this.path), error);
    }
  }

  /**
   * The files at the top level, not those in sub-folders, that were modified at or after `after` (Unix ms), less
   * two seconds for clocks that differ. A sandbox that does not exist has none.
   */
  async files({ after = 0 }: { after?: number } = {}, signal?: AbortSignal): Promise<SandboxListing> {
    const root = await this.realPath();
    const fresh: SandboxFile[] = [];
    if (root === undefined) return { files: [], refused: [], leftOut: 0, complete: true };
    const { names, complete } = await this.#names(root, signal);
    const findable = names.filter((name) => !isUndecodable(name));
    for (let from = 0; from < findable.length; from += scansAtOnce) {
      signal?.throwIfAborted();
      const batch = findable.slice(from, from + scansAtOnce);
      for (const file of await Promise.all(batch.map((name) => this.#find(root, name))))
        if (file && file.modifiedAt >= after - clockSlackMs) fresh.push(file);
    }
    const { files, refused, leftOut } = this.#fitted(fresh);
    return { files, refused, leftOut: leftOut + names.length - findable.length, complete };
  }

  /** Undefined when nothing has that name. Throws UnsafeFileError when it is not the name of a file at the top level. */
  async file(basename: string): Promise<SandboxFile | undefined> {
    if (!isBasename(basename)) throw new UnsafeFileError(basename, 'it is not a plain file name');
    const root = await this.realPath();
    return root === undefined ? undefined : this.#find(root, basename);
  }

  /**
   * The file that a tool call names, absolute or relative to the sandbox, in a sub-folder too. Undefined when
   * nothing is there. Throws UnsafeFileError when the path leads outside, by its text or through a link.
   */
  async fileAt(pathFromAgent: string): Promise<SandboxFile | undefined> {
    const root = await this.realPath();
    if (root === undefined) return undefined;
    const below = this.#below(root, pathFromAgent);
    const filename = path.basename(below ?? pathFromAgent);
    if (below === undefined) throw new UnsafeFileError(filename, 'its path leads outside the sandbox');
    const directory = await realFolder(path.join(root, path.dirname(below)), filename);
    if (directory === undefined) return undefined;
    if (directory !== root && !isInside(root, directory))
      throw new UnsafeFileError(filename, 'it is outside the sandbox');
    return this.#find(root, filename, directory);
  }

  /**
   * The path below the sandbox that a tool call means, by its text alone and with slashes; undefined when it leads
   * outside. The sandbox need not be here: nothing is looked at but its own place.
   */
  async pathBelow(pathFromAgent: string): Promise<string | undefined> {
    return (await this.pathsBelow())(pathFromAgent);
  }

  /** The same for any number of paths, at the cost of one scan at the sandbox's place. */
  async pathsBelow(): Promise<(pathFromAgent: string) => string | undefined> {
    // A sandbox that is no folder any more is refused by whoever looks at a file in it.
    const real = await this.realPath().catch(() => undefined);
    return (pathFromAgent) => this.#below(real ?? this.path, pathFromAgent)?.replaceAll(path.sep, '/');
  }

  /**
   * Where the sandbox really is; undefined when it does not exist. Its last component is never followed: the
   * path stays inside even when a link is put there after this.
   */
  async realPath(): Promise<string | undefined> {
    const name = path.basename(this.path);
    const parent = await realFolder(path.dirname(this.path), name);
    if (parent === undefined) return undefined;
    const real = path.join(parent, name);
    try {
      if ((await lstat(real)).isDirectory()) return real;
    } catch (error) {
      if (isAbsence(error)) return undefined;
      throw refusal(name, error);
    }
    throw new UnsafeFileError(name, 'the sandbox is not a folder');
  }

  /** An agent may name the sandbox by the path that it was given or by the real one. */
  #below(root: string, pathFromAgent: string): string | undefined {
    if (pathFromAgent.includes('\0')) return undefined;
    const absolute = path.resolve(this.path, pathFromAgent);
    const base = [this.path, root].find((candidate) => isInside(candidate, absolute));
    return base === undefined ? undefined : path.relative(base, absolute);
  }

  #find(root: string, filename: string, directory = root): Promise<SandboxFile | undefined> {
    return SandboxFile.find({ root, directory, filename, maxFileBytes: this.maxFileBytes });
  }

  /** Of everything that is no folder; `complete` is false when there are more entries than may be looked at. */
  async #names(
    root: string,
    signal: AbortSignal | undefined,
  ): Promise<{ names: string[]; complete: boolean }> {
    const names: string[] = [];
    let entries = 0;
    try {
      for await (const entry of await opendir(root, { bufferSize: 256 })) {
        signal?.throwIfAborted();
        entries += 1;
        if (entries > this.#maxEntries) return { names, complete: false };
        if (!entry.isDirectory() && !entry.name.startsWith(unfinishedPrefix)) names.push(entry.name);
      }
    } catch (error) {
      throw refusal(path.basename(root), error);
    }
    return { names, complete: true };
  }

  #fitted(fresh: SandboxFile[]) {
    fresh.sort((a, b) => b.modifiedAt - a.modifiedAt || (a.filename < b.filename ? -1 : 1));
    const files = fresh.filter(({ safe }) => safe).slice(0, this.#maxFiles);
    const refused = fresh.filter(({ safe }) => !safe).slice(0, this.#maxFiles);
    return { files, refused, leftOut: fresh.length - files.length - refused.length };
  }
}

/** A name that is not UTF-8 is read with replacement characters: no look by that text can find the file. */
const isUndecodable = (name: string) => name.includes('\ufffd');

/** The real path of the folder that a file is to be in; undefined when there is none. */
async function realFolder(folder: string, filename: string): Promise<string | undefined> {
  try {
    return await realpath(folder);
  } catch (error) {
    if (isAbsence(error)) return undefined;
    throw refusal(filename, error);
  }
}
