/** `npm run test:quick`: the tests that need no service. Arguments go to jest, for example `-t` with a test's name. */
import { spawnSync } from 'node:child_process';
import { quickTests } from './quick-tests.ts';

const setup = ['--setupFiles', '<rootDir>/test/quick/no-services.mjs'];
const jest = [
  'run',
  '-s',
  'jest',
  '--',
  '--silent',
  ...process.argv.slice(2),
  ...setup,
  '--runTestsByPath',
  ...quickTests(),
];
process.exit(spawnSync('npm', jest, { stdio: 'inherit' }).status ?? 1);
