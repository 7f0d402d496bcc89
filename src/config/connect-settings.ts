import path from 'node:path';
import { z } from 'zod';
import { checkConfig } from '../checking/check-config.ts';
import { wholeNumber } from '../checking/numbers.ts';
import type { ErrorReporter } from '../instrumentation/error-reporter.ts';
import type { Logger } from '../instrumentation/logger.ts';
import type { Meter } from '../instrumentation/meter.ts';
import type { Tracer } from '../instrumentation/tracer.ts';
import { collectionPrefixForm, defaultCollectionPrefix } from '../mongodb/collection-names.ts';
import type { ConversationModel, OpenCodeServerOptions, TurnsOptions } from './options.ts';
import { checkRedis, type RedisServerOptions, redisServerSchema } from './redis-address.ts';

const text = z.string('must be a text').min(1, 'must not be empty');

const withMethods = <T>(...names: (keyof T & string)[]) =>
  orNull(
    z.custom<T>(
      (value) =>
        names.every((name) => typeof (value as Record<string, unknown> | null)?.[name] === 'function'),
      `must be an object with ${names.join(', ')}`,
    ),
  );

/** Left out is null from here on, so that nobody need ask twice. */
function orNull<T>(schema: z.ZodType<T>) {
  return schema.optional().transform((value): T | null => value ?? null);
}

const server = z.strictObject({
  url: text.meta({ secret: true }),
  username: z.string('must be a text').optional(),
  password: z.string('must be a text').meta({ secret: true }).optional(),
} satisfies Record<keyof OpenCodeServerOptions, z.ZodType>);
const servers = z.array(server).min(1, 'must name at least one server').max(1_000, 'must name at most 1,000');

const prefixProblem = 'must have 1 to 64 characters: letters, digits, ":", "_", "." and "-"';

/** What `connect` takes. Each default and each bound of these settings stands here, and nowhere else. */
export const connectSchema = z.strictObject({
  redis: redisServerSchema.meta({
    env: 'REDIS_URL',
    kind: 'URL or options of ioredis',
    description:
      '`redis://[user:password@]host:port[/db]`; `maxmemory-policy` must be `noeviction`; no Redis Cluster',
  }),
  mongo: text.meta({
    env: 'MONGODB_URL',
    kind: 'URL',
    secret: true,
    description: '`mongodb://host:port/database`, with the database; each prefix needs a database of its own',
  }),
  opencode: servers.meta({
    env: 'OPENCODE_URL',
    kind: 'server, or a list',
    description:
      '`http://host:port` of `opencode serve`; new sessions go to the first one. User and password: `OPENCODE_SERVER_USERNAME` (`opencode`), `OPENCODE_SERVER_PASSWORD`',
  }),
  conversations: orNull(
    z.custom<ConversationModel<unknown>>((value) => typeof value === 'function', 'must be a Mongoose model'),
  ).meta({
    kind: 'Mongoose model',
    shownDefault: '`Conversation`',
    description: 'owns sessions; with the plugin `opencodeSession`, and the same in every process',
  }),
  prefix: z
    .string(prefixProblem)
    .regex(/^[A-Za-z0-9:_.-]{1,64}$/, prefixProblem)
    .default('opencode-turns')
    .meta({
      env: 'OPENCODE_TURNS_PREFIX',
      description:
        'begins every Redis key; deployments that share a Redis or an OpenCode server need one each',
    }),
  collectionPrefix: z
    .string(collectionPrefixForm.problem)
    .refine(collectionPrefixForm.fits, collectionPrefixForm.problem)
    .default(defaultCollectionPrefix)
    .meta({
      env: 'OPENCODE_TURNS_COLLECTION_PREFIX',
      bounds: 'at most 60 of `A-Za-z0-9_.-`',
      description: 'begins the names of our collections; may be empty, as a variable, too',
    }),
  sandboxRoot: z
    .string('must be a text')
    .max(4_000, 'must be at most 4,000 long')
    .refine((value) => path.isAbsolute(value) && !value.includes('\0'), 'must be an absolute path')
    .default(() => path.resolve('sandboxes'))
    .meta({
      env: 'OPENCODE_TURNS_SANDBOX_ROOT',
      kind: 'absolute path',
      shownDefault: '`./sandboxes`',
      description:
        "a conversation's agent works in the folder of it that is named after the conversation's id, or after a hash of an id that is no ObjectId",
    }),
  tracer: withMethods<Tracer>('span', 'event', 'carrier', 'traceId').meta({
    kind: '`Tracer`',
    shownDefault: "OpenTelemetry's, where installed",
    description: 'where spans go',
  }),
  meter: withMethods<Meter>('add', 'measure', 'observe').meta({
    kind: '`Meter`',
    shownDefault: "OpenTelemetry's, where installed",
    description: 'where figures go',
  }),
  logger: withMethods<Logger>('info', 'warn', 'error').meta({
    kind: '`Logger`',
    shownDefault: 'stderr, for people',
    description: 'where lines go: one for each finished turn, and errors unless there is a reporter',
  }),
  reporter: withMethods<ErrorReporter>('report').meta({
    kind: '`ErrorReporter`',
    shownDefault: 'lines of the logger',
    description: 'where errors go that were handled',
  }),
  connectTimeoutMs: wholeNumber(100, 60_000).default(5_000).meta({
    env: 'OPENCODE_TURNS_CONNECT_TIMEOUT_MS',
    description: 'bound of connecting to each service',
  }),
  lockLeaseMs: wholeNumber(100, 600_000).default(10_000).meta({
    env: 'OPENCODE_TURNS_LOCK_LEASE_MS',
    description:
      "lease of the conversation lock around a session's mint; a dead minter blocks its conversation this long at most",
  }),
} satisfies Record<keyof TurnsOptions, z.ZodType>);

/** What is used of the options of `connect`: nothing of it is left out. */
export interface ConnectSettings
  extends Omit<z.output<typeof connectSchema>, 'redis' | 'opencode' | 'conversations'> {
  readonly redis: string | RedisServerOptions;
  readonly opencode: readonly OpenCodeServerOptions[];
  readonly conversations: ConversationModel<unknown> | null;
}

/** Throws InvalidConfigError that names the option, and the nearest known one for a name that is not. */
export function connectSettings(given: TurnsOptions<never> | TurnsOptions<unknown>): ConnectSettings {
  const { opencode } = Object(given) as { readonly opencode?: unknown };
  // One server by its own schema: an error names no place in a list that nobody has made.
  const shape = { redis: z.unknown().optional(), opencode: Array.isArray(opencode) ? servers : server };
  const checked = checkConfig(connectSchema.extend(shape), given, '');
  const used = [checked.opencode].flat() as readonly OpenCodeServerOptions[];
  return { ...checked, redis: checkRedis(checked.redis), opencode: used };
}
