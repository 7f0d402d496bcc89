import { execFile, execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const root = fileURLToPath(new URL('../../', import.meta.url));
const run = promisify(execFile);

/** The landed commit that this version is run beside; when to move it: docs/releasing.md. */
export const landedCommit = readFileSync(new URL('./landed-commit.txt', import.meta.url), 'utf8').trim();

const git = (...args: string[]): string =>
  execFileSync('git', args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
const says = (...args: string[]): string | undefined => {
  try {
    return git(...args);
  } catch {
    return undefined;
  }
};

/** `full`: every commit that has landed is there. A tarball has none, also when it lies in somebody else's repository. */
function history(): 'none' | 'shallow' | 'full' {
  if (says('rev-parse', '--show-prefix') !== '') return 'none';
  return says('rev-parse', '--is-shallow-repository') === 'true' ? 'shallow' : 'full';
}

/** Why that version cannot be had here; undefined when it can. */
export function absence(): string | undefined {
  const kind = history();
  if (kind === 'none') return 'there is no git history of this project here';
  if (says('cat-file', '-e', `${landedCommit}^{commit}`) !== undefined) return undefined;
  return `the ${kind} history here has no commit ${landedCommit.slice(0, 7)}`;
}

/**
 * The entry of the landed version, as one module: its sources as they were, with the packages of now. Built once, into the
 * cache; two that build it at once leave one.
 */
export async function landedEntry(): Promise<string> {
  const cache = path.join(root, '.cache', 'side-by-side');
  const entry = path.join(cache, landedCommit, 'index.mjs');
  if (existsSync(entry)) return entry;
  mkdirSync(cache, { recursive: true });
  const making = mkdtempSync(path.join(cache, 'making-'));
  try {
    const archive = path.join(making, 'src.tar');
    git('archive', `--output=${archive}`, landedCommit, 'src', 'tsconfig.json');
    await run('tar', ['-xf', archive, '-C', making]);
    const options = [
      '--bundle',
      '--packages=external',
      '--platform=node',
      '--format=esm',
      '--log-level=error',
    ];
    const esbuild = path.join(root, 'node_modules', '.bin', 'esbuild');
    await run(esbuild, [path.join(making, 'src/index.ts'), ...options, `--outfile=${making}/index.mjs`]);
    renameSync(making, path.dirname(entry));
  } catch (error) {
    if (!existsSync(entry)) throw error;
  } finally {
    rmSync(making, { recursive: true, force: true });
  }
  return entry;
}
