import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { startRedis } from '../../dev/services/redis.ts';
import type { Service } from '../../dev/services/service.ts';
import { eventually } from '../support/eventually.ts';
import { HttpReplyProxy } from '../support/http-reply-proxy.ts';
import { RedisReplyProxy } from '../support/redis-reply-proxy.ts';

describe.each([2, 3] as const)('a proxy that replaces the answers of Redis (protocol %d)', (protocol) => {
  let service: Service;
  let proxy: RedisReplyProxy;
  let redis: Redis;

  beforeAll(async () => {
    service = await startRedis(() => undefined);
    proxy = await RedisReplyProxy.start(service.url);
    redis = new Redis(proxy.url, { protocol });
  });
  afterAll(async () => {
    await redis.quit();
    await proxy.stop();
    await service.stop();
  });

  it.each([true, false])(
    'puts an error in the place of one, in the middle of others (executed: %s)',
    async (executed) => {
      await redis.set('count', 0);
      const { hits } = proxy.replace({
        at: ({ name, args }) => name === 'incrby' && args[1] === '2',
        executed,
        reply: 'OOM put in',
      });
      const add = (by: number) => redis.incrby('count', by).catch((error: Error) => error.message);
      expect(await Promise.all([1, 2, 4, 2].map(add))).toEqual(
        executed ? [1, 'OOM put in', 7, 9] : [1, 'OOM put in', 5, 7],
      );
      expect(hits).toHaveLength(1);
    },
  );

  it.each([true, false])('answers a transaction as a whole (executed: %s)', async (executed) => {
    await redis.set('count', 0);
    proxy.replace({ at: ({ name }) => name === 'exec', executed, reply: 'EXECABORT put in' });
    await expect(redis.multi().incr('count').incr('count').exec()).rejects.toThrow('EXECABORT put in');
    expect(await redis.get('count')).toBe(executed ? '2' : '0');
    expect(await redis.multi().incr('count').exec()).toEqual([[null, executed ? 3 : 1]]);
  });

  it('lets through what is pushed, and tells it from the answer to a subscription', async () => {
    const subscriber = redis.duplicate();
    const heard: string[] = [];
    subscriber.on('message', (_, message) => heard.push(message));
    await subscriber.subscribe('one', 'two');
    proxy.replace({ at: ({ name }) => name === 'subscribe', executed: false, reply: 'NOPERM put in' });
    await expect(subscriber.subscribe('three')).rejects.toThrow('NOPERM put in');
    for (const channel of ['one', 'two', 'three']) await redis.publish(channel, channel);
    await eventually(() => expect(heard).toEqual(['one', 'two']));
    await subscriber.quit();
  });
});

it('a gateway answers one request in the place of the server, which has got it or not', async () => {
  const got: string[] = [];
  const server = createServer((incoming, outgoing) => {
    got.push(incoming.url ?? '');
    outgoing.end('real');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const proxy = await HttpReplyProxy.start(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  const reply = { status: 418, headers: { 'content-type': 'text/plain' }, body: 'put in' };
  for (const executed of [true, false])
    proxy.replace({ at: ({ path }) => path === `/${executed}`, executed, reply });
  const answers = [];
  for (const path of ['/other?a=1', '/true', '/false', '/false']) {
    const answer = await fetch(`${proxy.url}${path}`);
    answers.push([answer.status, await answer.text()]);
  }
  expect(answers).toEqual([
    [200, 'real'],
    [418, 'put in'],
    [418, 'put in'],
    [200, 'real'],
  ]);
  expect(got).toEqual(['/other?a=1', '/true', '/false']);
  await proxy.stop();
  server.close();
  server.closeAllConnections();
});
