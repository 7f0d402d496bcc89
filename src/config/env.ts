import { z } from 'zod';
import { bare, checkConfig } from '../checking/check-config.ts';
import { InvalidConfigError } from '../errors.ts';
import type { WorkOptions } from '../worker/running-worker.ts';
import { boardSchema, healthSchema } from './board-settings.ts';
import { connectSchema } from './connect-settings.ts';
import { checkEnvNames, formerOfBoard, formerOfWorker, refuseFormer } from './env-names.ts';
import type { TurnsOptions } from './options.ts';
import { processSchema } from './process-settings.ts';
import { workerStopSchema, workSchema } from './work-settings.ts';

type Env = Readonly<Record<string, string | undefined>>;
type Values = Readonly<Record<string, unknown>>;

const prefix = 'OPENCODE_TURNS_';

const schemas = [connectSchema, workSchema, workerStopSchema, processSchema, healthSchema, boardSchema];

/** All that we read of those that begin as ours do; the last is that of the development services. */
const known = [...schemas.flatMap(variablesOf).filter((name) => name.startsWith(prefix)), `${prefix}CACHE`];

/** Options from the environment. Pure. Throws InvalidConfigError that names the variable. */
export function configFromEnv(
  env: Readonly<Record<string, string | undefined>> = process.env,
): TurnsOptions & { readonly redis: string } {
  checkEnvNames(env, prefix, known);
  const { redis, mongo, opencode, ...shape } = connectSchema.shape;
  const username = env.OPENCODE_SERVER_USERNAME;
  const password = env.OPENCODE_SERVER_PASSWORD;
  return {
    redis: need(env, 'REDIS_URL'),
    mongo: need(env, 'MONGODB_URL'),
    opencode: {
      url: need(env, 'OPENCODE_URL'),
      ...(username ? { username } : {}),
      ...(password ? { password } : {}),
    },
    ...(read(env, z.strictObject(shape)) as Omit<Partial<TurnsOptions>, 'redis'>),
  };
}

export interface WorkerEnv {
  readonly work: Omit<WorkOptions, 'policies'>;
  readonly shutdownMs: number;
  readonly healthPort?: number;
  readonly policies?: string;
  readonly model?: string;
  readonly agent?: string;
  readonly logFormat: 'text' | 'json';
}

/** What the shipped worker is told. Pure. Throws InvalidConfigError that names the variable. */
export function workerFromEnv(env: Env): WorkerEnv {
  refuseFormer(env, formerOfWorker);
  checkEnvNames(env, prefix, known);
  const { deadlineMs } = workerStopSchema.parse(read(env, workerStopSchema));
  const { port } = read(env, healthSchema) as { port?: number };
  return {
    work: read(env, workSchema) as WorkerEnv['work'],
    shutdownMs: deadlineMs,
    ...(port === undefined ? {} : { healthPort: port }),
    ...(processSchema.parse(read(env, processSchema)) as Pick<WorkerEnv, 'logFormat'>),
  };
}

/** What the shipped board is told. Pure. Throws InvalidConfigError that names the variable. */
export function boardFromEnv(env: Env) {
  refuseFormer(env, formerOfBoard);
  checkEnvNames(env, prefix, known);
  const board = read(env, boardSchema);
  const given = { user: 'admin', port: 3100, ...board } as { user: string; port: number };
  const { redis, mongo, opencode, ...shape } = connectSchema.shape;
  const connect = z.object(shape).parse(read(env, z.strictObject(shape)));
  return {
    board: { ...given, password: need(env, 'OPENCODE_TURNS_BOARD_PASSWORD') },
    redis: need(env, 'REDIS_URL'),
    prefix: connect.prefix,
    connectTimeoutMs: connect.connectTimeoutMs,
  };
}

function need(env: Env, name: string): string {
  const value = env[name];
  if (value) return value;
  throw new InvalidConfigError(name, 'is not set; see docs/configuration.md');
}

/** The values that the environment has for a schema's settings, each checked under the name of its variable. */
function read(env: Env, { shape }: z.ZodObject): Values {
  const values: Record<string, unknown> = {};
  for (const [key, field] of Object.entries(shape) as [string, z.ZodType][]) {
    if (bare(field) instanceof z.ZodObject) {
      const below = read(env, bare(field) as z.ZodObject);
      if (Object.keys(below).length > 0) values[key] = below;
      continue;
    }
    const name = field.meta()?.env;
    const text = typeof name === 'string' ? env[name] : undefined;
    // Deployments pass on what is not set as an empty text. Where that is a value, it is one.
    if (text === undefined || (text === '' && !field.safeParse('').success)) continue;
    values[key] = checkConfig(field, parsedText(field, text), String(name));
  }
  return values;
}

/** Digits are a number where one is wanted; whatever else is there is for the check to refuse. */
function parsedText(field: z.ZodType, text: string): unknown {
  return bare(field) instanceof z.ZodNumber && /^-?\d{1,15}$/.test(text) ? Number(text) : text;
}

function variablesOf({ shape }: z.ZodObject): string[] {
  return (Object.values(shape) as z.ZodType[]).flatMap((field) => {
    const { env } = field.meta() ?? {};
    const below = bare(field);
    return typeof env === 'string' ? [env] : below instanceof z.ZodObject ? variablesOf(below) : [];
  });
}
