import { expect, it } from '@jest/globals';
import { safeReporter } from '../../src/instrumentation/error-reporter.ts';

const broken = () => {
  throw new Error('broken');
};

it('a reporter that throws, now or later, costs its own report only', async () => {
  const lost: unknown[] = [];
  const heard = (error: unknown) => lost.push(error);
  process.on('unhandledRejection', heard);
  for (const report of [broken, async () => broken(), () => new Promise<never>(() => undefined)]) {
    const safe = safeReporter({ report, note: report });
    safe.report(new Error('x'), { action: 'test' });
    safe.note?.('test', {});
  }
  safeReporter({ report: () => undefined }).note?.('test', {});
  // Node tells of a rejection that nobody handled once the microtasks are done.
  await new Promise((resolve) => setImmediate(resolve));
  process.off('unhandledRejection', heard);
  expect(lost).toEqual([]);
});
