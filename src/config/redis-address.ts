import type { ConnectionOptions } from 'node:tls';
import { z } from 'zod';
import { checkConfig } from '../checking/check-config.ts';
import { maxTimerMs, wholeNumber } from '../checking/numbers.ts';
import { InvalidConfigError } from '../errors.ts';

/**
 * Those of ioredis' options that say where a Redis is and how to get in. The others decide whether jobs and locks are kept:
 * the library sets them for each of its connections, and refuses them here.
 */
export interface RedisServerOptions {
  readonly host?: string;
  readonly port?: number;
  /** Of a socket of this machine, in place of host and port. */
  readonly path?: string;
  /** 4 or 6, or 0 for both. */
  readonly family?: number;
  readonly username?: string;
  readonly password?: string;
  readonly db?: number;
  /** `{}` for TLS with the system's authorities. */
  readonly tls?: ConnectionOptions;
  /** What `CLIENT LIST` shows. */
  readonly connectionName?: string;
  /** Ms after which TCP asks whether the other end is there. */
  readonly keepAlive?: number;
  readonly noDelay?: boolean;
}

const text = z.string('must be a text').min(1, 'must not be empty').max(1_000, 'must be at most 1,000 long');

export const redisServerSchema = z.strictObject({
  host: text.optional(),
  port: wholeNumber(1, 65_535).optional(),
  path: text.optional(),
  family: z.union([z.literal(0), z.literal(4), z.literal(6)], 'must be 4, 6 or 0').optional(),
  username: text.optional(),
  password: text.meta({ secret: true }).optional(),
  db: wholeNumber(0, 1_000_000).optional(),
  tls: z
    .custom<ConnectionOptions>((value) => typeof value === 'object' && value !== null, 'must be an object')
    .meta({ secret: true })
    .optional(),
  connectionName: text.optional(),
  keepAlive: wholeNumber(0, maxTimerMs).optional(),
  noDelay: z.boolean('must be true or false').optional(),
} satisfies Record<keyof RedisServerOptions, z.ZodType>);

/** What a URL may say behind its question mark: ioredis takes it for options, and would let it win over the library's. */
const inUrl = new Set(['family', 'username', 'password', 'db', 'connectionName']);

const elsewhere: Readonly<Record<string, string>> = {
  keyPrefix: 'would be put before names that are whole already; use the option "prefix"',
  sentinels: 'is not supported; name the master, or an address that leads to it after a failover',
  name: 'is of Sentinel, which is not supported; name the master, or an address that leads to it after a failover',
};
/** Options of ioredis that decide whether jobs, locks and answers are kept. */
const ours = new Set([
  ...['maxRetriesPerRequest', 'enableOfflineQueue', 'lazyConnect', 'retryStrategy', 'reconnectOnError'],
  ...['connectTimeout', 'commandTimeout', 'socketTimeout', 'disconnectTimeout', 'blockingTimeout'],
  ...['enableReadyCheck', 'autoResubscribe', 'autoResendUnfulfilledCommands', 'maxLoadingRetryTime'],
  ...['enableAutoPipelining', 'readOnly', 'monitor', 'stringNumbers', 'protocol', 'replyMapping'],
]);

const form = 'must be a URL of the form redis://[user:password@]host:port[/db] (or rediss://)';

/**
 * What is given for a Redis. Throws InvalidConfigError for a URL that is none, and for options that are not a host's to set:
 * its message holds neither URL nor password.
 */
export function checkRedis(given: unknown): string | RedisServerOptions {
  if (typeof given === 'string') return checkUrl(given);
  if (typeof given !== 'object' || given === null)
    throw new InvalidConfigError('redis', `${form}, or an object with the options of one`);
  if (Array.isArray(given))
    throw new InvalidConfigError('redis', 'must be one Redis: no Cluster is supported');
  if (typeof (given as { duplicate?: unknown }).duplicate === 'function')
    throw new InvalidConfigError(
      'redis',
      'must be an address, not a connection: each use has one of its own',
    );
  for (const name of Object.keys(given)) refuseOurs(name);
  return checkConfig(redisServerSchema, given, 'redis') as RedisServerOptions;
}

function refuseOurs(name: string): void {
  const problem = ours.has(name)
    ? 'is set by the library for each of its connections; leave it out'
    : Object.hasOwn(elsewhere, name) && elsewhere[name];
  if (problem) throw new InvalidConfigError(`redis.${name}`, problem);
}

function checkUrl(url: string): string {
  let parsed: URL;
  try {
    parsed = new URL(url);
    // As the client will do it.
    decodeURIComponent(`${parsed.username}:${parsed.password}`);
  } catch {
    // Without its cause: Node's error carries the URL, and with it the password.
    throw new InvalidConfigError('redis', form);
  }
  if (!/^rediss?:$/.test(parsed.protocol) || parsed.hostname === '')
    throw new InvalidConfigError('redis', form);
  for (const name of parsed.searchParams.keys()) {
    if (inUrl.has(name)) continue;
    refuseOurs(name);
    const known = [...inUrl].join(', ');
    // Not by its name: behind a "?" that belongs to a password, it is a part of that.
    throw new InvalidConfigError(
      'redis',
      `must have nothing behind a "?" but ${known}; a "?" is written %3F`,
    );
  }
  return url;
}

/** Where it is, without user and password: this goes into errors and logs. */
export function redisPlace(given: string | RedisServerOptions): string {
  if (typeof given === 'string') {
    const parsed = new URL(given);
    return `${parsed.protocol}//${parsed.host}${parsed.pathname === '/' ? '' : parsed.pathname}`;
  }
  const { host = 'localhost', port = 6379, path, db, tls } = given;
  return path ?? `${tls ? 'rediss' : 'redis'}://${host}:${port}${db ? `/${db}` : ''}`;
}
