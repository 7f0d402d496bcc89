import { execFile } from 'node:child_process';
import { access, constants, stat } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { messageOf } from '../../src/errors.ts';

const exec = promisify(execFile);

/** Runs a program to its end and answers its output. Throws with what it said; ends with this process. */
export async function run(
  command: string,
  args: readonly string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv } = {},
): Promise<string> {
  const limits = { maxBuffer: 16 * 1024 * 1024, timeout: 300_000, killSignal: 'SIGKILL' } as const;
  const running = exec(command, args, { env: process.env, ...limits, ...options });
  const end = () => running.child.kill('SIGKILL');
  // Before whoever removes the folder that it works in.
  process.prependOnceListener('exit', end);
  try {
    return (await running).stdout;
  } catch (error) {
    throw new Error(`${path.basename(command)} failed: ${lastWords(error)}`, { cause: error });
  } finally {
    process.off('exit', end);
  }
}

function lastWords(error: unknown): string {
  const { stderr = '' } = error as { stderr?: string };
  return stderr.trim().split('\n').slice(-3).join('; ') || messageOf(error);
}

/** The full path of a program on PATH (or in the given folders, written like it), or undefined. */
export async function onPath(program: string, folders = process.env.PATH ?? ''): Promise<string | undefined> {
  for (const directory of folders.split(path.delimiter)) {
    const file = path.resolve(directory, program);
    try {
      await access(file, constants.X_OK);
      if ((await stat(file)).isFile()) return file;
    } catch {
      // Not here.
    }
  }
  return undefined;
}
