import path from 'node:path';
import { z } from 'zod';
import { checkConfig } from '../checking/check-config.ts';
import type { WorkOptions } from '../worker/running-worker.ts';
import type { OpenCodeServerOptions, TurnsOptions } from './options.ts';

const text = z.string().min(1, 'must not be empty');
/** A time that a timer can wait for: at most some 24 days. */
const timeMs = z.number().min(1, 'must be at least 1').max(2_147_483_647, 'must be at most 2,147,483,647');
const withMethods = (...names: string[]) =>
  z.custom(
    (value) => names.every((name) => typeof (value as Record<string, unknown> | null)?.[name] === 'function'),
    `must be an object with ${names.join(', ')}`,
  );

const server = z.strictObject({
  url: text,
  username: z.string().optional(),
  password: z.string().optional(),
} satisfies Record<keyof OpenCodeServerOptions, z.ZodType>);

const connectSchema = z.strictObject({
  redis: text,
  mongo: text,
  opencode: z.unknown(),
  conversations: z.custom((value) => typeof value === 'function', 'must be a Mongoose model').optional(),
  prefix: text.max(100).optional(),
  collectionPrefix: z.string().optional(),
  sandboxRoot: text.refine((value) => path.isAbsolute(value), 'must be an absolute path').optional(),
  tracer: withMethods('span', 'event', 'carrier', 'traceId').optional(),
  meter: withMethods('add', 'measure', 'observe').optional(),
  logger: withMethods('info', 'warn', 'error').optional(),
  reporter: withMethods('report').optional(),
  connectTimeoutMs: timeMs.optional(),
  lockLeaseMs: timeMs.optional(),
} satisfies Record<keyof TurnsOptions, z.ZodType>);

const workSchema = z.strictObject({
  policies: z.looseObject({}),
  unknownPolicyMs: z.number().min(0).optional(),
  sweeper: z.strictObject({ everyMs: timeMs.optional(), minAgeMs: z.number().min(0).optional() }).optional(),
  concurrency: z.int('must be a whole number').min(1, 'must be at least 1').max(10_000).optional(),
  lockMs: timeMs.optional(),
  stalledCheckMs: timeMs.optional(),
} satisfies Record<keyof WorkOptions, z.ZodType>);

/** Throws InvalidConfigError that names the option, and the nearest known one for a name that is not. */
export function checkConnectOptions(options: TurnsOptions<unknown>): void {
  checkConfig(connectSchema, options, '');
  const { opencode } = options;
  if (Array.isArray(opencode))
    checkConfig(z.array(server).min(1, 'must name at least one server'), opencode, 'opencode');
  else checkConfig(server, opencode, 'opencode');
}

/** Throws InvalidConfigError as above; what stands in the policies is checked by each policy. */
export function checkWorkOptions(options: WorkOptions<never>): void {
  checkConfig(workSchema, options, '');
}
