import { DatabaseRefusedError, messageOf, ServiceUnavailableError } from '../errors.ts';

/** What an error of Redis says about the command that met it. */
export interface RedisVerdict {
  /** The reply's first word, or the client's own code. */
  readonly code: string;
  /** Whether the command may have been carried out all the same. Whoever must know reads back what is stored. */
  readonly applied: 'no' | 'maybe';
  /** Waiting alone does not help: somebody has to change a setting. */
  readonly permanent: boolean;
}

type Row = Omit<RedisVerdict, 'code'>;
const refused: Row = { applied: 'no', permanent: false };
const misconfigured: Row = { applied: 'no', permanent: true };
const unheard: Row = { applied: 'maybe', permanent: false };

/**
 * Replies that say that this Redis serves nobody as it stands, by their first word: it is as good as away. Redis
 * answers each of them before it carries anything out, a script included (`processCommand` in server.c, `scriptCall`
 * in script.c of Redis 7; the words in `createSharedObjects` in server.c). Everything else (`ERR`, `WRONGTYPE`) is
 * about the command itself.
 */
const replies: Readonly<Record<string, Row>> = {
  LOADING: refused, // reads its data set from disk
  BUSY: refused, // a script of somebody runs for too long
  OOM: refused, // full, with maxmemory-policy noeviction
  READONLY: refused, // a replica now: a failover is under way, or the address is wrong
  MASTERDOWN: refused, // a replica that has lost its master and serves no stale data
  NOREPLICAS: refused, // fewer replicas than min-replicas-to-write
  MISCONF: refused, // could not save to disk, stop-writes-on-bgsave-error
  CLUSTERDOWN: refused, // slots without an owner
  TRYAGAIN: refused, // a slot on its way between two nodes
  UNBLOCKED: refused, // a blocked command was sent away: the node became a replica
  NOAUTH: misconfigured, // no password was given, or its user was removed
  WRONGPASS: misconfigured,
  NOPERM: misconfigured, // the user's ACL
  DENIED: misconfigured, // protected mode
  MOVED: misconfigured, // these three: a cluster, which is not supported
  ASK: misconfigured,
  CROSSSLOT: misconfigured,
};

/**
 * Errors without a reply, by code or message: those of sockets (Node), and those of ioredis 6.0 (`Redis.js`,
 * `redis/event_handler.js`, `errors`). Only what never left this process is surely not applied.
 */
const silences: readonly (readonly [RegExp, Row])[] = [
  [/Stream isn't writeable|ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH/, refused],
  [/max number of clients/, refused],
  [/ECONN|EPIPE|ETIMEDOUT|Connection is closed|MaxRetriesPerRequest|max retries/i, unheard],
  [/Command timed out|Socket timeout/i, unheard],
];

/** Undefined for what says nothing about Redis as a whole: a wrong command, or no error of Redis at all. */
export function judgeRedis(error: unknown): RedisVerdict | undefined {
  if (!(error instanceof Error)) return undefined;
  const code = /^[A-Z]{3,}(?= )/.exec(error.message)?.[0] ?? '';
  const reply = Object.hasOwn(replies, code) ? replies[code] : undefined;
  if (reply) return { code, ...reply };
  const text = `${error.name} ${(error as NodeJS.ErrnoException).code ?? ''} ${error.message}`;
  const silence = silences.find(([pattern]) => pattern.test(text));
  if (!silence) return undefined;
  return { code: silence[0].exec(text)?.[0] ?? error.name, ...silence[1] };
}

/**
 * Errors of a Redis command as ours: ServiceUnavailableError while Redis serves nobody, DatabaseRefusedError for a reply
 * about the command itself, as to a key that somebody has put something else into. Neither carries the command's
 * arguments. What is no error of Redis goes on as it is.
 */
export function redisError(error: unknown): unknown {
  withoutArguments(error);
  const verdict = judgeRedis(error);
  if (!verdict) return isReply(error) ? refusal(error) : error;
  const known =
    verdict.applied === 'no' ? ' (nothing was written)' : ' (whether it was written is not known)';
  return new ServiceUnavailableError('redis', `${messageOf(error)}${known}`, { cause: error });
}

/** As the client's parser names what Redis has answered (redis-errors 1.2). */
const isReply = (error: unknown): error is Error => error instanceof Error && error.name === 'ReplyError';

const refusal = (cause: Error) => new DatabaseRefusedError('redis', messageOf(cause), undefined, { cause });

/**
 * ioredis hangs the command with its arguments on each error: passwords, entries of turns. Whoever prints an error
 * would print them. Takes them off, in place, and returns the error.
 */
export function withoutArguments<T>(error: T): T {
  if (error instanceof Error && 'command' in error) {
    const { name } = (error.command ?? {}) as { name?: unknown };
    (error as { command?: unknown }).command = typeof name === 'string' ? { name } : undefined;
  }
  return error;
}
