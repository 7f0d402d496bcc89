import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { boardFromEnv, configFromEnv, workerFromEnv } from '../../src/config/env.ts';
import { InvalidConfigError } from '../../src/errors.ts';
import '../support/fuzz-seed.ts';

/** Not by their names, which would mean a test over services. */
const urlOf = (service: string) => `${service}_URL`;
const env = {
  [urlOf('REDIS')]: 'redis://h',
  [urlOf('MONGODB')]: 'mongodb://h/d',
  OPENCODE_URL: 'http://h',
  OPENCODE_TURNS_BOARD_PASSWORD: 'long enough',
};
const read = (more: Readonly<Record<string, string>>) => {
  const given = { ...env, ...more };
  return { connect: configFromEnv(given), worker: workerFromEnv(given), board: boardFromEnv(given) };
};

/** Each variable that is a number, with its bounds. */
const numbers: readonly [string, number, number][] = [
  ['CONNECT_TIMEOUT_MS', 100, 60_000],
  ['LOCK_LEASE_MS', 100, 600_000],
  ['CONCURRENCY', 1, 10_000],
  ['LOCK_MS', 1_000, 600_000],
  ['STALLED_CHECK_MS', 100, 600_000],
  ['UNKNOWN_POLICY_MS', 0, 604_800_000],
  ['SWEEP_EVERY_MS', 100, 3_600_000],
  ['SWEEP_MIN_AGE_MS', 0, 86_400_000],
  ['SHUTDOWN_MS', 0, 86_400_000],
  ['HEALTH_PORT', 0, 65_535],
  ['BOARD_PORT', 0, 65_535],
];

describe.each(numbers)('OPENCODE_TURNS_%s', (short, min, max) => {
  const name = `OPENCODE_TURNS_${short}`;

  it('is refused outside of its bounds and as anything but digits', () => {
    const wrong = fc.oneof(
      fc.constantFrom(
        'abc',
        ` ${min} `,
        `${min} `,
        '5s',
        '0x10',
        '1e3',
        '١',
        '-0.5',
        '1_000',
        'NaN',
        ' ',
        '\n',
      ),
      fc.constantFrom(`${min - 1}`, `${max + 1}`, `${min}.5`, '9'.repeat(400)),
      fc.string({ minLength: 1 }).filter((text) => !/^-?\d+$/.test(text)),
    );
    fc.assert(
      fc.property(wrong, (text) => {
        let refused: unknown;
        try {
          read({ [name]: text });
        } catch (error) {
          refused = error;
        }
        expect(refused).toBeInstanceOf(InvalidConfigError);
        const bounds = `from ${min.toLocaleString('en-US')} to ${max.toLocaleString('en-US')}`;
        expect(refused).toMatchObject({ setting: name, message: expect.stringContaining(bounds) });
      }),
    );
  });

  it('is taken at its bounds, and counts as not set when it is empty', () => {
    expect(() => [read({ [name]: `${min}` }), read({ [name]: `${max}` })]).not.toThrow();
    expect(read({ [name]: '' })).toEqual(read({}));
  });
});

it('what is set reaches the option that it is of', () => {
  expect(
    read({
      OPENCODE_TURNS_PREFIX: 'p',
      OPENCODE_TURNS_COLLECTION_PREFIX: '',
      OPENCODE_TURNS_SWEEP_EVERY_MS: '2000',
      OPENCODE_TURNS_LOCK_MS: '3000',
      OPENCODE_TURNS_SHUTDOWN_MS: '7',
      OPENCODE_TURNS_HEALTH_PORT: '0',
      OPENCODE_TURNS_MODEL: 'a/b',
      OPENCODE_TURNS_LOG_FORMAT: 'json',
      OPENCODE_TURNS_BOARD_BASE_PATH: '/ops',
    }),
  ).toEqual({
    connect: {
      redis: 'redis://h',
      mongo: 'mongodb://h/d',
      opencode: { url: 'http://h' },
      prefix: 'p',
      collectionPrefix: '',
    },
    worker: {
      work: { sweeper: { everyMs: 2_000 }, lockMs: 3_000 },
      shutdownMs: 7,
      healthPort: 0,
      model: 'a/b',
      logFormat: 'json',
    },
    board: {
      board: { user: 'admin', port: 3_100, password: 'long enough', basePath: '/ops' },
      redis: 'redis://h',
      prefix: 'p',
      connectTimeoutMs: 5_000,
    },
  });
});

it.each([
  ['OPENCODE_TURNS_PREFIX', 'a b', /letters, digits/],
  ['OPENCODE_TURNS_SANDBOX_ROOT', './box', /absolute/],
  ['OPENCODE_TURNS_LOG_FORMAT', 'jsn', /did you mean "json"/],
  ['OPENCODE_TURNS_BOARD_BASE_PATH', 'board', /such as \/board/],
  ['OPENCODE_TURNS_BOARD_PASSWORD', 'short', /at least 8/],
  ['OPENCODE_TURNS_CONCURENCY', '5', /did you mean "OPENCODE_TURNS_CONCURRENCY"/],
  ['TURNS_CONCURRENCY', '5', /OPENCODE_TURNS_CONCURRENCY now/],
  ['BOARD_PORT', '5', /OPENCODE_TURNS_BOARD_PORT now/],
  ['OPENCODE_MODEL', 'a/b', /OPENCODE_TURNS_MODEL now/],
])('%s=%s is refused by its name', (name, value, problem) => {
  const refused = () => read({ [name]: value });
  expect(refused).toThrow(problem);
  expect(refused).toThrow(new RegExp(`^${name}: `));
  if (/PASSWORD/.test(name)) expect(refused).not.toThrow(/short/);
});
