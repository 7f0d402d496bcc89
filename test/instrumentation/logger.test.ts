import { afterEach, beforeEach, expect, it, jest } from '@jest/globals';
import { consoleReporter, loggingReporter } from '../../src/instrumentation/error-reporter.ts';
import { consoleLogger, jsonLogger } from '../../src/instrumentation/logger.ts';

const lines: string[] = [];
beforeEach(() => {
  lines.length = 0;
  jest.spyOn(console, 'error').mockImplementation((line) => {
    lines.push(String(line));
  });
});
afterEach(() => {
  jest.restoreAllMocks();
});

const hostile = '\u001b[2J\n\u0085\u202e"\\ \ud800';

it('for people: one line, as it was', () => {
  consoleReporter.report(new TypeError('no'), { action: 'turn', turnId: 'x' });
  consoleReporter.report('no', { action: 'redis.worker', severity: 'warning' });
  consoleReporter.note?.('turn finished', { turnId: 'x', reason: undefined, durationMs: 5 });
  expect(lines).toEqual([
    '[opencode-turns] error in turn: TypeError: no turnId=x',
    '[opencode-turns] warning in redis.worker: no',
    '[opencode-turns] turn finished turnId=x durationMs=5',
  ]);
});

it('for programs: one object a line, with level, message, code and fields', () => {
  const reporter = loggingReporter(jsonLogger);
  const refused = Object.assign(new Error('no'), { code: 'ECONNREFUSED' });
  reporter.report(refused, { action: 'redis.worker', severity: 'warning', repeated: 3 });
  reporter.note?.('turn finished', { turnId: 'x', reason: undefined });
  const [first, second] = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(first).toEqual({
    time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
    level: 'warn',
    message: 'Error: no',
    code: 'ECONNREFUSED',
    action: 'redis.worker',
    repeated: 3,
  });
  expect(second).toEqual({ time: expect.anything(), level: 'info', message: 'turn finished', turnId: 'x' });
});

it.each([
  ['people', consoleLogger],
  ['programs', jsonLogger],
])('for %s: nothing moves a terminal, no object is followed, nothing is endless', (format, logger) => {
  const circle: Record<string, unknown> = {};
  circle.self = circle;
  const fields = { hostile, circle, big: 10n, none: Object.create(null), nan: Number.NaN, level: 'debug' };
  logger.error({ ...fields, long: 'x'.repeat(100_000) }, hostile);
  expect(lines).toHaveLength(1);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
  expect(lines[0]).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202e]/);
  expect(lines[0]?.length).toBeLessThan(10_000);
  if (format === 'programs')
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({
      level: 'error',
      big: '10',
      hostile,
      message: hostile,
    });
});
