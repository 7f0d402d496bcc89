import { expect, it } from '@jest/globals';
import { calmReporter } from '../../src/instrumentation/calm-reporter.ts';
import type { ReportContext } from '../../src/instrumentation/error-reporter.ts';
import { eventually } from '../support/eventually.ts';

function calm(options: Parameters<typeof calmReporter>[1]) {
  const told: { message: string; context: ReportContext }[] = [];
  const reporter = calmReporter(
    { report: (error, context) => told.push({ message: (error as Error).message, context }) },
    options,
  );
  const warn = (message: string, facts: Record<string, unknown> = {}) =>
    reporter.report(new Error(message), { action: 'redis.worker', severity: 'warning', ...facts });
  return { told, reporter, warn };
}

it('tells a warning once, whatever ids and numbers it has, and then how often it came', async () => {
  const { told, warn } = calm({ everyMs: 300 });
  for (let n = 0; n < 5_000; n += 1) warn(`connect ECONNREFUSED 127.0.0.1:${n}`, { turnId: `turn ${n}` });
  expect(told.map(({ message }) => message)).toEqual(['connect ECONNREFUSED 127.0.0.1:0']);
  await eventually(() => expect(told).toHaveLength(2));
  expect(told[1]?.context).toMatchObject({ action: 'redis.worker', repeated: 4_999, turnId: 'turn 4999' });
  warn('connect ECONNREFUSED 127.0.0.1:7');
  await eventually(() => expect(told).toHaveLength(3));
  expect(told[2]?.context.repeated).toBe(1);
});

it('tells a warning anew that was not met for a whole time', async () => {
  const { told, warn } = calm({ everyMs: 20 });
  warn('away');
  await eventually(() => {
    warn('something else');
    expect(told.filter(({ message }) => message === 'something else').length).toBeGreaterThan(2);
  });
  warn('away');
  const away = told.filter(({ message }) => message === 'away');
  expect(away).toHaveLength(2);
  expect(away[1]?.context).not.toHaveProperty('repeated');
});

it('keeps different warnings apart, and errors out of it', () => {
  const { told, reporter, warn } = calm({});
  warn('one');
  warn('two');
  reporter.report(new Error('one'), { action: 'sweeper', severity: 'warning' });
  for (let n = 0; n < 3; n += 1) reporter.report(new Error('a turn'), { action: 'turn' });
  expect(told.map(({ message }) => message)).toEqual(['one', 'two', 'one', 'a turn', 'a turn', 'a turn']);
});

it('remembers a bounded number of kinds; of the one that goes, nothing unreported is lost', () => {
  const { told, warn } = calm({ maxKinds: 2 });
  for (const message of ['a', 'a', 'a', 'b', 'c']) warn(message);
  expect(told.map(({ message, context }) => [message, context.repeated])).toEqual([
    ['a', undefined],
    ['b', undefined],
    ['a', 2],
    ['c', undefined],
  ]);
});
