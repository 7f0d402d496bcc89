import { Redis, type RedisOptions } from 'ioredis';
import { checkRedis, type RedisServerOptions, redisPlace } from '../config/redis-address.ts';
import { InvalidConfigError, messageOf, ServiceUnavailableError } from '../errors.ts';
import type { ErrorReporter } from '../instrumentation/error-reporter.ts';
import { within } from '../timing/time-limit.ts';
import { unlessAborted } from '../timing/unless-aborted.ts';
import { judgeRedis, withoutArguments } from './errors.ts';

/**
 * One connection per role, because the roles contradict each other:
 *   commands    fails fast: a web request must not hang while Redis is away
 *   worker      BullMQ's blocking reads: waits for Redis without limit (BullMQ refuses anything else)
 *   subscriber  in subscribe mode it can send nothing else; subscribes again by itself after a reconnect
 */
export type RedisRole = 'commands' | 'worker' | 'subscriber';

/**
 * A connection that owes an answer for so long is dead, although nobody said so: a middlebox has forgotten it, or Redis
 * stands still. It is replaced, in time for the lock of a job to be renewed. Longer than any wait for jobs
 * (`polling-worker.ts`). Without it the kernel gives up only after some fifteen minutes.
 */
const socketTimeout = 5_000;

/** ioredis gives a socket so long to hang up, also one that is dead already: a process that leaves waits no longer. */
const disconnectTimeout = 200;

const roles = {
  commands: { maxRetriesPerRequest: 1, enableOfflineQueue: false, commandTimeout: 10_000, socketTimeout },
  worker: { maxRetriesPerRequest: null, socketTimeout },
  subscriber: { maxRetriesPerRequest: null, socketTimeout },
} satisfies Record<RedisRole, RedisOptions>;

const failoverPauseMs = 2_000;

/** Reconnects for ever: 50, 100, 150 … 2,000 ms. */
const retryStrategy = (times: number): number => Math.min(times * 50, 2_000);

/**
 * A connection to what has become a replica is opened anew, at most every two seconds: the address may lead to the new
 * master by now. Seen for each error reply first, so this is also where arguments are taken off.
 */
function reconnectAfterFailover(): (error: Error) => boolean {
  let at = Number.NEGATIVE_INFINITY;
  return (error) => {
    withoutArguments(error);
    if (judgeRedis(error)?.code !== 'READONLY' || performance.now() - at < failoverPauseMs) return false;
    at = performance.now();
    return true;
  };
}

/**
 * Opens a connection and waits until it is usable, at most `timeoutMs`. Throws InvalidConfigError for an
 * address that is none and for a cluster, ServiceUnavailableError with the last cause otherwise; nothing stays open then.
 */
export async function openRedis(
  address: string | RedisServerOptions,
  role: RedisRole,
  reporter: ErrorReporter,
  timeoutMs = 5_000,
): Promise<Redis> {
  const given = checkRedis(address);
  const ours = {
    ...roles[role],
    retryStrategy,
    reconnectOnError: reconnectAfterFailover(),
    lazyConnect: true,
    connectTimeout: timeoutMs,
    disconnectTimeout,
  } satisfies RedisOptions;
  const redis =
    typeof given === 'string'
      ? new Redis(given, ours)
      : new Redis({ ...(given as { host?: string }), ...ours });
  let lastError: unknown;
  let opened = false;
  redis.on('error', (error) => {
    lastError = withoutArguments(error);
    if (opened) reporter.report(error, { action: `redis.${role}`, severity: 'warning' });
  });
  try {
    // One limit for all of it: a Redis that falls silent behind its first answers would be waited for without end.
    const usable = async () => {
      await ready(redis);
      await refuseCluster(redis);
    };
    await within(timeoutMs, (limit) =>
      unlessAborted(usable(), limit).catch((error) => {
        // Why it is not there says more than that the time is over.
        throw limit.aborted ? (lastError ?? new Error(`no answer within ${timeoutMs} ms`)) : error;
      }),
    );
    opened = true;
    return redis;
  } catch (cause) {
    redis.disconnect();
    if (cause instanceof InvalidConfigError) throw cause;
    throw new ServiceUnavailableError('redis', `cannot use ${redisPlace(given)}: ${messageOf(cause)}`, {
      cause,
      effect: 'none',
    });
  }
}

/** Without a limit of its own. Rejects for what never gets better. */
function ready(redis: Redis): Promise<void> {
  return new Promise((resolve, reject) => {
    const finish = (settle: () => void) => {
      redis.off('ready', onReady);
      redis.off('error', onError);
      settle();
    };
    const onReady = () => finish(resolve);
    // A wrong password never gets better; most else may, until the time is over.
    const onError = (error: Error) => {
      const hopeless = judgeRedis(error)?.permanent || /ERR (invalid password|AUTH)/.test(error.message);
      if (hopeless) finish(() => reject(withoutArguments(error)));
    };
    redis.on('ready', onReady);
    redis.on('error', onError);
    redis.connect().catch(onError);
  });
}

/**
 * Scripts and BullMQ's keys need one node for all keys. A cluster's node says what it is; behind a proxy that hides it,
 * a command over two slots tells. Who may ask neither (an ACL) is believed.
 */
async function refuseCluster(redis: Redis): Promise<void> {
  const [info, spread] = await Promise.allSettled([redis.info('cluster'), redis.exists('{a}', '{b}')]);
  const named = info.status === 'fulfilled' && /^cluster_enabled:1/m.test(info.value);
  const crossed = spread.status === 'rejected' && judgeRedis(spread.reason)?.code === 'CROSSSLOT';
  if (!named && !crossed) return;
  throw new InvalidConfigError('redis', 'is a Redis Cluster, which is not supported; name a single Redis');
}

/** Redis evicting keys at will would lose jobs: say so at start. Managed servers may refuse the question. */
export async function checkEviction(redis: Redis, reporter: ErrorReporter): Promise<void> {
  const answer = await redis.config('GET', 'maxmemory-policy').catch(() => null);
  const policy = Array.isArray(answer) ? answer[1] : undefined;
  if (policy === undefined || policy === 'noeviction') return;
  const problem = `maxmemory-policy is "${policy}"; set it to noeviction, or Redis may drop jobs and locks`;
  reporter.report(new InvalidConfigError('redis', problem), { action: 'redis.check', severity: 'warning' });
}

/** How long Redis may take to answer a goodbye: one that is frozen never does. */
const goodbyeMs = 1_000;

/**
 * Says goodbye where that can be heard: a connection that is down would wait for the next one to say it. One that is not
 * answered is told, and the connection cut, which fails whatever waits for an answer on it. Never throws.
 */
export async function closeRedis(
  redis: Pick<Redis, 'status' | 'quit' | 'disconnect'>,
  role: RedisRole,
  reporter: ErrorReporter,
): Promise<void> {
  if (redis.status !== 'ready') return redis.disconnect();
  try {
    await within(goodbyeMs, (limit) => unlessAborted(redis.quit(), limit));
  } catch (cause) {
    redis.disconnect();
    const problem = `did not answer the goodbye (${messageOf(cause)}); the connection was cut`;
    const error = new ServiceUnavailableError('redis', problem, { cause: withoutArguments(cause) });
    reporter.report(error, { action: `redis.${role}.close`, severity: 'warning' });
  }
}
