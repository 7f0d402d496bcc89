import { lstat, realpath } from 'node:fs/promises';
import { isInside } from './sandbox-file.ts';

/**
 * Where a directory that is a link leads now; undefined for any other, for one that is not here, and for a link that
 * leads out of `root`. Never throws.
 */
export async function linkTarget(directory: string, root: string): Promise<string | undefined> {
  try {
    if (!(await lstat(directory)).isSymbolicLink()) return undefined;
    const target = await realpath(directory);
    return isInside(await realpath(root), target) ? target : undefined;
  } catch {
    return undefined;
  }
}
