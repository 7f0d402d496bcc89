import { expect, it } from '@jest/globals';
import { hasLanded, history, landedCommit } from '../side-by-side/landed-version.ts';

it('the version that this one is run beside has landed: a full history has its commit', () => {
  expect(landedCommit).toMatch(/^[0-9a-f]{40}$/);
  // Elsewhere the test over both versions says why it is not run.
  if (history() === 'full') expect(hasLanded()).toBe(true);
});
