import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from '@jest/globals';
import { root } from './sources.ts';

/** A type that a public one is made of and nobody can name, a docstring with a link that leads nowhere: warnings are errors. */
it('the reference is made from the docstrings without a warning', async () => {
  const folder = path.join(root, 'dev/reference');
  const typedoc = path.join(folder, 'node_modules/typedoc/bin/typedoc');
  const options = ['--options', path.join(folder, 'typedoc.json'), '--emit', 'none'];
  const made = promisify(execFile)(process.execPath, [typedoc, ...options], { cwd: folder });
  await expect(made).resolves.toMatchObject({ stderr: '' });
}, 300_000);
