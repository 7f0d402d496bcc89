import { expect, it } from '@jest/globals';
import { landedCommit } from '../side-by-side/landed-version.ts';

it('the version that this one is run beside is one commit', () => {
  // Where the history has it not, the test over both versions says so, and is not run.
  expect(landedCommit).toMatch(/^[0-9a-f]{40}$/);
});
