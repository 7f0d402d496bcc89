/**
 * `npm run test:faults`: the fault suites at full size. `--all` tries every point, `--seed N` repeats a run,
 * `--only TEXT` tries those answers whose name has the text.
 * `replies` replaces single answers of the services, `soak --minutes N` takes them away now and then; `--json` ends
 * either with one line of JSON. Anything else goes to jest, for example a path.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';

const commands: Record<string, string> = {
  replies: 'test/faults/long/replies.test.ts',
  soak: 'test/faults/long/soak.test.ts',
};

const { values, positionals } = parseArgs({
  options: {
    all: { type: 'boolean' },
    json: { type: 'boolean' },
    minutes: { type: 'string' },
    only: { type: 'string' },
    seed: { type: 'string' },
  },
  allowPositionals: true,
});
const paths = positionals.length > 0 ? positionals.map((name) => commands[name] ?? name) : ['test/faults'];
const directory = mkdtempSync(path.join(tmpdir(), 'opencode-turns-faults-'));
const result = path.join(directory, 'result.json');
const { status } = spawnSync('npm', ['run', '-s', 'jest', '--', '--runInBand', ...paths], {
  stdio: 'inherit',
  env: {
    ...process.env,
    FAULTS: values.all ? 'all' : 'more',
    FAULTS_RESULT: result,
    ...(values.seed ? { FAULTS_SEED: values.seed } : {}),
    ...(values.only ? { FAULTS_ONLY: values.only } : {}),
    ...(values.minutes ? { FAULTS_MINUTES: values.minutes } : {}),
  },
});
if (values.json && existsSync(result)) console.log(readFileSync(result, 'utf8'));
rmSync(directory, { recursive: true, force: true });
process.exit(status ?? 1);
