import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { lstat, open, opendir } from 'node:fs/promises';
import path from 'node:path';
import { codeOf, isInside } from './sandbox-file.ts';

/** What the server reads as its own settings wherever it works; they can start processes (OpenCode 1.18.33). */
const names = ['opencode.json', 'opencode.jsonc', '.opencode'];
const maxLevels = 64;
const maxEntries = 5_000;
const maxBytes = 1024 * 1024;

/** A settings file that the host itself has put there. `path` is relative to the agent's directory; one that ends in `/` is a folder. */
export interface HostConfigFile {
  readonly path: string;
  /** Of its bytes, hexadecimal. Without it, it may hold anything. */
  readonly sha256?: string;
}

/**
 * Absolute paths of the server's settings files in a directory, and in those above it up to `root`, that are none of
 * `own`: each name at the top, and in a `.opencode` of which the host has something, each file. No link is followed; a
 * link, and whatever cannot be looked at, counts. Looks at 5,000 entries at most; where there are more, the folder counts.
 */
export async function serverConfigFiles(
  directory: string,
  root: string,
  own: readonly HostConfigFile[],
): Promise<readonly string[]> {
  const known = new Map(own.map((file) => [path.resolve(directory, file.path), file]));
  const found: string[] = [];
  for (const level of levels(directory, root))
    for (const name of names) found.push(...(await strangeAt(path.join(level, name), known)));
  return found;
}

type Known = ReadonlyMap<string, HostConfigFile>;

function levels(directory: string, root: string): string[] {
  const all = [directory];
  for (let at = directory; isInside(root, at) && all.length < maxLevels; all.push(at)) at = path.dirname(at);
  return all;
}

async function strangeAt(file: string, known: Known): Promise<readonly string[]> {
  const kind = await kindOf(file);
  if (kind === 'absent') return [];
  const named = known.get(file);
  if (kind === 'folder' && !named?.path.endsWith('/')) {
    const below = [...known.keys()].some((other) => other.startsWith(file + path.sep));
    return below ? strangeBelow(file, known) : [file];
  }
  return named && (await isAsGiven(file, kind, named)) ? [] : [file];
}

async function strangeBelow(folder: string, known: Known): Promise<readonly string[]> {
  const found: string[] = [];
  const folders = [folder];
  let entries = 0;
  for (let next = folders.pop(); next !== undefined; next = folders.pop()) {
    for await (const { name } of await opendir(next)) {
      entries += 1;
      if (entries > maxEntries) return [folder];
      const file = path.join(next, name);
      const kind = await kindOf(file);
      const named = known.get(file);
      if (kind === 'folder' && !named) folders.push(file);
      else if (!named || !(await isAsGiven(file, kind, named))) found.push(file);
    }
  }
  return found;
}

type Kind = 'absent' | 'file' | 'folder' | 'other';

async function kindOf(file: string): Promise<Kind> {
  try {
    const stats = await lstat(file);
    if (stats.isDirectory()) return 'folder';
    return stats.isFile() ? 'file' : 'other';
  } catch (error) {
    return ['ENOENT', 'ENOTDIR'].includes(codeOf(error) ?? '') ? 'absent' : 'other';
  }
}

async function isAsGiven(
  file: string,
  kind: Kind,
  { path: given, sha256 }: HostConfigFile,
): Promise<boolean> {
  if (given.endsWith('/')) return kind === 'folder';
  if (kind !== 'file') return false;
  return sha256 === undefined || (await hashOf(file)) === sha256.toLowerCase();
}

/** Undefined for what is no file any more, or too large. */
async function hashOf(file: string): Promise<string | undefined> {
  try {
    const handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const stats = await handle.stat();
      if (!stats.isFile() || stats.size > maxBytes) return undefined;
      const bytes = Buffer.alloc(maxBytes + 1);
      const { bytesRead } = await handle.read(bytes, 0, bytes.length, 0);
      return bytesRead > maxBytes
        ? undefined
        : createHash('sha256').update(bytes.subarray(0, bytesRead)).digest('hex');
    } finally {
      await handle.close();
    }
  } catch {
    return undefined;
  }
}
