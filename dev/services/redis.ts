import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Redis } from 'ioredis';
import { InvalidConfigError, messageOf } from '../../src/errors.ts';
import { consoleReporter } from '../../src/instrumentation/error-reporter.ts';
import { openRedis } from '../../src/redis/connection.ts';
import { type RedisBinary, redisFromPackages } from './redis-packages.ts';
import { onPath } from './run.ts';
import { namedService, type Progress, type Service } from './service.ts';
import { freePort, startSupervised } from './supervised.ts';

/**
 * Redis: what REDIS_URL names, else a `redis-server` started on a free loopback port, from PATH or from this
 * system's packages. Nothing is kept when it ends. Throws InvalidConfigError with the choices there are. `more`: settings
 * beside or in place of ours; whoever gives some gets a server of his own in any case.
 */
export async function startRedis(
  progress: Progress,
  more?: Readonly<Record<string, string | number>>,
): Promise<Service> {
  const { REDIS_URL } = process.env;
  if (REDIS_URL && !more) return namedService('Redis', 'REDIS_URL', REDIS_URL, () => speak(REDIS_URL));
  const binary = await findBinary(progress);
  const port = await freePort();
  const directory = await mkdtemp(path.join(tmpdir(), 'opencode-turns-redis-'));
  const settings = {
    bind: '127.0.0.1',
    port,
    dir: directory,
    save: '',
    appendonly: 'no',
    // BullMQ needs both: keys are never thrown out, and delayed jobs are seen in time.
    'maxmemory-policy': 'noeviction',
    hz: 100,
    ...more,
  };
  const args = Object.entries(settings).flatMap(([key, value]) => [`--${key}`, String(value)]);
  const { stop } = await startSupervised({
    ...binary,
    args,
    cwd: directory,
    remove: [directory],
    probe: () => ping(port),
  });
  return {
    name: 'Redis',
    url: `redis://127.0.0.1:${port}`,
    description: `redis-server (${binary.from})`,
    stop,
  };
}

async function findBinary(progress: Progress): Promise<RedisBinary & { from: string }> {
  const command = await onPath('redis-server');
  if (command) return { command, env: process.env, from: 'from PATH' };
  try {
    return { ...(await redisFromPackages(progress)), from: "this system's package, in the cache" };
  } catch (cause) {
    const choices =
      'start one with "docker compose up -d redis", or install it ("apt install redis-server", "brew install redis"), or set REDIS_URL';
    throw new InvalidConfigError('REDIS_URL', `no Redis here: ${choices} (${messageOf(cause)})`, { cause });
  }
}

async function speak(url: string): Promise<void> {
  (await openRedis(url, 'commands', consoleReporter)).disconnect();
}

async function ping(port: number): Promise<void> {
  const redis = new Redis(port, '127.0.0.1', {
    lazyConnect: true,
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
    // The timer of a probe that failed would hold the process for two seconds.
    disconnectTimeout: 1,
  });
  redis.on('error', () => undefined);
  try {
    await redis.connect();
    await redis.ping();
  } finally {
    redis.disconnect();
  }
}
