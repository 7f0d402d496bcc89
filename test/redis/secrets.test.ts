import { inspect } from 'node:util';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { startRedis } from '../../dev/services/redis.ts';
import type { Service } from '../../dev/services/service.ts';
import { InvalidConfigError, LockUnavailableError, ServiceUnavailableError } from '../../src/errors.ts';
import { openRedis } from '../../src/redis/connection.ts';
import { ConversationLock } from '../../src/redis/lock.ts';
import { TurnStream } from '../../src/redis/turn-stream.ts';

const password = 'p4ss-w0rd-of-redis';
const told: unknown[] = [];
const reporter = { report: (error: unknown) => void told.push(error) };
let service: Service;
let admin: Redis;
beforeAll(async () => {
  service = await startRedis(() => undefined, {});
  admin = new Redis(service.url);
  await admin.config('SET', 'requirepass', `right-${password}`);
});
afterAll(async () => {
  admin?.disconnect();
  await service?.stop();
});

/** As Node prints an error that nobody caught, and as a logger that goes deeper does. */
const printed = (error: unknown) => inspect(error, { depth: 12, showHidden: true });
const thrown = async (call: Promise<unknown>): Promise<unknown> =>
  call.then(
    () => undefined,
    (error) => error,
  );
const withPassword = (word: string) => service.url.replace('redis://', `redis://:${word}@`);

it('the password stands in no error of connecting', async () => {
  const cases = [
    [`redis://:${password}@host:port:nonsense`, InvalidConfigError],
    [`http://:${password}@127.0.0.1`, InvalidConfigError],
    [withPassword(password), ServiceUnavailableError],
    [`redis://:${password}@127.0.0.1:1`, ServiceUnavailableError],
  ] as const;
  for (const [url, kind] of cases)
    for (const role of ['commands', 'worker', 'subscriber'] as const) {
      const error = await thrown(openRedis(url, role, reporter, 1_000));
      expect(error).toBeInstanceOf(kind);
      expect(printed(error)).not.toContain(password);
    }
});

it('the password and what was written stand in no error of a call', async () => {
  const redis = await openRedis(withPassword(`right-${password}`), 'commands', reporter);
  const lock = new ConversationLock({ redis, prefix: 'secrets', reporter, awayMs: 100, waitMs: 200 });
  const stream = new TurnStream({ redis, prefix: 'secrets' });
  const entry = { type: 'retry', attempt: 1, message: 'words of the agent', nextAt: 1 } as const;
  await admin.config('SET', 'maxmemory', '1');
  try {
    const taken = await thrown(lock.run('conversation', async () => undefined));
    expect(taken).toBeInstanceOf(LockUnavailableError);
    const appended = await thrown(stream.append({ turnId: 'turn', epoch: 1 }, 'any', [entry]));
    expect(appended).toBeInstanceOf(ServiceUnavailableError);
    const text = [taken, appended, ...told].map(printed).join('\n');
    expect(text).toContain('OOM');
    expect(text).not.toContain(password);
    expect(text).not.toContain('words of the agent');
  } finally {
    await admin.config('SET', 'maxmemory', '0');
    redis.disconnect();
  }
});
