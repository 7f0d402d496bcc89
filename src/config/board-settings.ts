import { z } from 'zod';
import { checkConfig } from '../checking/check-config.ts';
import { dayMs, wholeNumber } from '../checking/numbers.ts';

const text = z.string('must be a text').min(1, 'must not be empty').max(1_000, 'must be at most 1,000 long');
const host = text.default('127.0.0.1');
const passwordProblem = 'must be a text of at least 8 characters';

/** What `createBoard` takes besides what it shows and whom it tells. */
export const boardSchema = z.strictObject({
  user: text.meta({ env: 'OPENCODE_TURNS_BOARD_USER', envDefault: 'admin', description: 'who may look' }),
  password: z.string(passwordProblem).min(8, passwordProblem).max(1_000, 'must be at most 1,000 long').meta({
    env: 'OPENCODE_TURNS_BOARD_PASSWORD',
    bounds: 'at least 8 characters',
    secret: true,
    description: 'of basic auth',
  }),
  host: host.meta({ env: 'OPENCODE_TURNS_BOARD_HOST', description: 'where the board listens' }),
  port: wholeNumber(0, 65_535).default(0).meta({
    env: 'OPENCODE_TURNS_BOARD_PORT',
    envDefault: 3100,
    description: 'its port; 0: a free one',
  }),
  basePath: z
    .string('must be a path such as /board')
    .max(1_000, 'must be at most 1,000 long')
    .regex(/^(\/[\w.~-]+)+$/, 'must be a path such as /board')
    .default('/board')
    .meta({
      env: 'OPENCODE_TURNS_BOARD_BASE_PATH',
      bounds: 'a path such as `/board`',
      description:
        'the path under which browsers reach it, whether the proxy in front leaves it on its requests or takes it off',
    }),
  guesses: z
    .strictObject({
      perAddress: wholeNumber(1, 1_000_000)
        .default(10)
        .meta({ description: 'wrong passwords that are heard out from one address in a window' }),
      inAll: wholeNumber(1, 1_000_000).default(100).meta({ description: 'and from all of them' }),
      windowMs: wholeNumber(1_000, dayMs).default(60_000).meta({ description: 'the window' }),
    })
    .prefault({}),
});

export type BoardSettings = z.output<typeof boardSchema>;

/** Throws InvalidConfigError that names the option. */
export const boardSettings = (given: unknown): BoardSettings => checkConfig(boardSchema, given, '');

/** What `serveHealth` takes. */
export const healthSchema = z.strictObject({
  port: wholeNumber(0, 65_535).optional().meta({
    env: 'OPENCODE_TURNS_HEALTH_PORT',
    description:
      '`GET /healthz` on 127.0.0.1 at this port: 200 while the worker lives, for whoever restarts it; 0: a free one',
  }),
  host,
});

/** Throws InvalidConfigError that names the option. */
export const healthSettings = (given: unknown): z.output<typeof healthSchema> =>
  checkConfig(healthSchema, given, 'health');
