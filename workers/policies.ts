/** What a worker is told by its environment. */
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { messageOf } from '../src/errors.ts';
import {
  consoleLogger,
  InvalidConfigError,
  jsonLogger,
  type Logger,
  type TurnPolicy,
  type TurnsOptions,
} from '../src/index.ts';

/** The variables of a worker that begin with TURNS_. */
export const variables: readonly string[] = [
  'TURNS_POLICIES',
  'TURNS_CONCURRENCY',
  'TURNS_SHUTDOWN_MS',
  'TURNS_LOCK_MS',
  'TURNS_STALLED_CHECK_MS',
  'TURNS_HEALTH_PORT',
  'TURNS_LOG_FORMAT',
];

export const maxPort = 65_535;

/** Throws InvalidConfigError for what is none, or more than `max`. */
export function wholeNumber(name: string, value: string, max = 9_999_999): number {
  if (/^\d{1,7}$/.test(value) && Number(value) <= max) return Number(value);
  throw new InvalidConfigError(name, `must be a whole number of ${max} at most, not "${value}"`);
}

/** The logger of that format. Throws InvalidConfigError for one that is none. */
export function loggerOf(format: string): Logger {
  if (format === 'json') return jsonLogger;
  if (format === 'text') return consoleLogger;
  throw new InvalidConfigError('TURNS_LOG_FORMAT', `must be json or text, not "${format}"`);
}

/** What a host gives the shipped worker. */
export interface Given {
  readonly policies: Record<string, TurnPolicy>;
  /** The host's own model, on a connection that the module opens and that is the worker's to close. */
  readonly conversations?: Conversations;
}

type Conversations = NonNullable<TurnsOptions['conversations']>;

/**
 * The table of policies that a module exports by default, and the model that it exports as `conversations`. Throws
 * InvalidConfigError for a module that cannot be loaded, or that has no such table.
 */
export async function givenIn(module: string): Promise<Given> {
  const file = path.resolve(module);
  const loaded = await import(pathToFileURL(file).href).catch((cause: unknown) => {
    throw new InvalidConfigError('TURNS_POLICIES', `${file} cannot be loaded: ${messageOf(cause)}`, {
      cause,
    });
  });
  const policies: unknown = await loaded.default;
  const conversations: Conversations | undefined = await loaded.conversations;
  if (typeof policies === 'object' && policies !== null)
    return { policies: policies as Given['policies'], ...(conversations ? { conversations } : {}) };
  throw new InvalidConfigError(
    'TURNS_POLICIES',
    `${file} has no table of policies as its default export; write: export default { default: { model: 'provider/model' } }`,
  );
}
