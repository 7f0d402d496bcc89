/**
 * `npm run bench -- NAME [--json] [--quick]`. Exits 0 whether or not the target is met, and says which; 1 only
 * when the bench could not run. Without a name: the list.
 */
import { existsSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type BenchOptions, type BenchResult, machine, versions } from './support.ts';

const here = fileURLToPath(new URL('./', import.meta.url));
const args = process.argv.slice(2);
const name = args.find((arg) => !arg.startsWith('--'));
const helpers = new Set(['main.ts', 'support.ts', 'held-turn.ts']);
const names = readdirSync(here)
  .filter((file) => file.endsWith('.ts') && !helpers.has(file))
  .map((file) => file.slice(0, -3));

if (name === undefined || !/^[\w-]+$/.test(name) || !existsSync(`${here}${name}.ts`)) {
  console.log(`benches: ${names.join(', ')}`);
  process.exit(name === undefined ? 0 : 1);
}

const { run } = (await import(`./${name}.ts`)) as { run: (options: BenchOptions) => Promise<BenchResult> };
const result = await run({ quick: args.includes('--quick') });
const { bench, target, ok, ratio, ...figures } = result;
console.log(`${bench}: ${target}`);
console.log(`  ${ok ? 'met' : 'NOT met'}${ratio === undefined ? '' : `, ratio ${ratio}`}`);
for (const [figure, value] of Object.entries(figures))
  console.log(`  ${figure.padEnd(28)} ${JSON.stringify(value)}`);
if (args.includes('--json'))
  console.log(JSON.stringify({ ...result, machine: machine(), versions: versions() }));
process.exit(0);
