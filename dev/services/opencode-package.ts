import { chmod } from 'node:fs/promises';
import path from 'node:path';
import { InvalidConfigError, messageOf } from '../../src/errors.ts';
import { cached } from './cache.ts';
import { onPath, run } from './run.ts';
import type { Progress } from './service.ts';

/** The version that this library is tested with. */
export const openCodeVersion = '1.18.33';

/** The server's program: OPENCODE_BIN, `opencode` on PATH, else the platform package of npm's opencode-ai. */
export async function openCodeBinary(progress: Progress): Promise<{ command: string; from: string }> {
  const { OPENCODE_BIN } = process.env;
  if (OPENCODE_BIN) {
    const command = await onPath(path.basename(OPENCODE_BIN), path.dirname(OPENCODE_BIN));
    if (command) return { command, from: 'OPENCODE_BIN' };
    throw new InvalidConfigError('OPENCODE_BIN', `there is no program ${OPENCODE_BIN}`);
  }
  const command = await onPath('opencode');
  if (command) return { command, from: 'from PATH' };
  return { command: await fromNpm(progress), from: `npm opencode-ai ${openCodeVersion}, in the cache` };
}

/**
 * Installs the platform package alone: it holds the whole program, while the package in front of it only links
 * to it in a postinstall script.
 */
async function fromNpm(progress: Progress): Promise<string> {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const name = `opencode-${platform}-${process.arch}`;
  try {
    const place = await cached(`opencode-${openCodeVersion}`, async (directory) => {
      progress(`fetching the OpenCode server ${openCodeVersion} from npm (once, about 60 MB)`);
      const spec = `${name}@${openCodeVersion}`;
      const quiet = [
        '--no-save',
        '--ignore-scripts',
        '--no-audit',
        '--no-fund',
        '--no-package-lock',
        '--loglevel=error',
      ];
      await run('npm', ['install', ...quiet, '--prefix', directory, spec], { cwd: directory });
    });
    const command = path.join(
      place,
      'node_modules',
      name,
      'bin',
      process.platform === 'win32' ? 'opencode.exe' : 'opencode',
    );
    await chmod(command, 0o755).catch(() => undefined);
    return command;
  } catch (cause) {
    const choices = 'install it ("npm i -g opencode-ai") or set OPENCODE_URL or OPENCODE_BIN';
    throw new InvalidConfigError('OPENCODE_BIN', `no OpenCode here: ${choices} (${messageOf(cause)})`, {
      cause,
    });
  }
}
