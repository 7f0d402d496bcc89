import { existsSync, rmSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { messageOf } from '../../src/errors.ts';

/** `.cache` in the package's own folder, found from here upwards; nothing outside of it is ever written. */
export function cacheDirectory(): string {
  if (process.env.OPENCODE_TURNS_CACHE) return path.resolve(process.env.OPENCODE_TURNS_CACHE);
  let directory = path.dirname(fileURLToPath(import.meta.url));
  while (!existsSync(path.join(directory, 'package.json'))) directory = path.dirname(directory);
  return path.join(directory, '.cache');
}

/**
 * A folder of the cache that `fill` makes once. It is filled beside its place and moved there whole, so a folder
 * that exists is complete, and of two processes that fill at once one wins and both can go on.
 */
export async function cached(name: string, fill: (directory: string) => Promise<void>): Promise<string> {
  const root = cacheDirectory();
  const place = path.join(root, name);
  if (existsSync(place)) return place;
  await mkdir(root, { recursive: true }).catch((cause: unknown) => {
    const how = 'set OPENCODE_TURNS_CACHE to a directory that can';
    throw new Error(`${root} cannot be written (${messageOf(cause)}); ${how}`, { cause });
  });
  const temporary = await mkdtemp(path.join(root, `.${name}-`));
  const sweep = () => rmSync(temporary, { recursive: true, force: true });
  process.once('exit', sweep);
  try {
    await fill(temporary);
    await rename(temporary, place);
  } catch (error) {
    if (!existsSync(place)) throw error;
  } finally {
    process.off('exit', sweep);
    await rm(temporary, { recursive: true, force: true });
  }
  return place;
}
