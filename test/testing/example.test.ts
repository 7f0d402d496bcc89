import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, it } from '@jest/globals';
import { root } from '../house/sources.ts';

it('examples/testing-your-app.ts passes its tests, with no service at all', async () => {
  const args = ['--import', 'tsx', 'examples/testing-your-app.ts'];
  const env = { PATH: process.env.PATH, HOME: process.env.HOME };
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: root, env, timeout: 50_000 });
  expect(stdout).toMatch(/pass 3\n[\s\S]*fail 0\n/);
});
