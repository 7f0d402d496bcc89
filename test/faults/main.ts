/**
 * `npm run test:faults`: the fault suites at full size. `--all` kills at every point, `--seed N` repeats a run;
 * anything else goes to jest, for example a path.
 */
import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';

const { values, positionals } = parseArgs({
  options: { all: { type: 'boolean' }, seed: { type: 'string' } },
  allowPositionals: true,
});
const paths = positionals.length > 0 ? positionals : ['test/faults'];
const { status } = spawnSync('npm', ['run', '-s', 'jest', '--', '--runInBand', ...paths], {
  stdio: 'inherit',
  env: {
    ...process.env,
    FAULTS: values.all ? 'all' : 'more',
    ...(values.seed ? { FAULTS_SEED: values.seed } : {}),
  },
});
process.exit(status ?? 1);
