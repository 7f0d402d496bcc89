import { mkdir } from 'node:fs/promises';
import path from 'node:path';

/**
 * Makes a directory and those above it; one that is there stays as it is. Rejects with the file system's error. Step
 * by step, because `mkdir` with `recursive` never comes back where a parent cannot be made and says so with ENOENT, as
 * below /proc (Node 20).
 */
export async function makeDirectory(directory: string): Promise<void> {
  try {
    await mkdir(directory);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') return;
    const parent = path.dirname(directory);
    if (code !== 'ENOENT' || parent === directory) throw error;
    await makeDirectory(parent);
    await mkdir(directory).catch((again: NodeJS.ErrnoException) => {
      if (again.code !== 'EEXIST') throw again;
    });
  }
}
