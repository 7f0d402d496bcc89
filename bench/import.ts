/**
 * How long `import('opencode-turns')` takes in a process of its own, and how much of that zod takes, which is the one
 * package that it loads: pairs, one after the other, so that what else goes on here falls on both.
 */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { type BenchOptions, type BenchResult, median, round } from './support.ts';

const maxMs = 250;
const root = fileURLToPath(new URL('../', import.meta.url));

export async function run({ quick = false }: BenchOptions): Promise<BenchResult> {
  const pairs = Array.from({ length: quick ? 5 : 25 }, () => ({
    zod: importOnce('zod'),
    ours: importOnce('opencode-turns'),
  }));
  const importMs = round(median(pairs.map(({ ours }) => ours)), 1);
  return {
    bench: 'import',
    target: `import('opencode-turns') ≤ ${maxMs} ms`,
    ok: importMs <= maxMs,
    ratio: round(median(pairs.map(({ ours, zod }) => ours / zod))),
    importMs,
    zodMs: round(median(pairs.map(({ zod }) => zod)), 1),
    pairs: pairs.length,
  };
}

/** In ms, by the clock of the process that imports. The package knows itself by its name. */
function importOnce(name: string): number {
  const script = `const from = performance.now(); await import('${name}'); console.log(performance.now() - from);`;
  const args = ['--input-type=module', '--eval', script];
  return Number(execFileSync(process.execPath, args, { cwd: root, encoding: 'utf8' }));
}
