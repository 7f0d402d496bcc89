import { readFileSync } from 'node:fs';
import path from 'node:path';
import { cacheDirectory } from '../services/cache.ts';
import type { Supervised } from '../services/supervised.ts';
import { startSupervised } from '../services/supervised.ts';

/** The package's own folder. */
export const packageRoot = (): string => path.dirname(cacheDirectory());

/** Starts a process as the Procfile starts it, and resolves with what it says when it is ready. */
export async function startFromProcfile(
  name: string,
  env: NodeJS.ProcessEnv,
): Promise<Supervised & { ready: { url?: string; pid: number } }> {
  const root = packageRoot();
  const line = readFileSync(path.join(root, 'Procfile'), 'utf8')
    .split('\n')
    .find((one) => one.startsWith(`${name}:`));
  if (!line) throw new Error(`the Procfile has no process "${name}"`);
  const [program = '', ...args] = line
    .slice(name.length + 1)
    .trim()
    .split(/\s+/);
  let ready: { url?: string; pid: number } | undefined;
  const process = await startSupervised({
    command: program === 'node' ? globalThis.process.execPath : program,
    args,
    env: { ...globalThis.process.env, ...env },
    cwd: root,
    onLine: (text) => {
      if (text.startsWith('{"ready":true')) ready = JSON.parse(text) as { url?: string; pid: number };
    },
    probe: async () => {
      if (!ready) throw new Error('not ready yet');
    },
  });
  return { ...process, ready: ready ?? { pid: 0 } };
}
