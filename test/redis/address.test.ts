import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { startRedis } from '../../dev/services/redis.ts';
import type { Service } from '../../dev/services/service.ts';
import { closeRedis, openRedis } from '../../src/redis/connection.ts';

const secret = 'p4ssw0rd-of-somebody';
const reporter = { report: () => undefined };
let service: Service;
let server: { host: string; port: number };

beforeAll(async () => {
  service = await startRedis(() => undefined);
  const { hostname, port } = new URL(service.url);
  server = { host: hostname, port: Number(port) };
  const admin = await openRedis(server, 'commands', reporter);
  await admin.acl('SETUSER', 'turns', 'on', `>${secret}`, '~*', '&*', '+@all');
  await closeRedis(admin, 'commands', reporter);
}, 60_000);
afterAll(async () => {
  await service.stop();
});

it('a Redis by its options is reached as its own user, in its own database, under its own name', async () => {
  const given = {
    ...server,
    username: 'turns',
    password: secret,
    db: 3,
    connectionName: 'mine',
    keepAlive: 1_000,
  };
  const redis = await openRedis(given, 'worker', reporter);
  expect(await redis.client('INFO')).toMatch(/name=mine .*db=3 .*user=turns/);
  expect(redis.options).toMatchObject({
    maxRetriesPerRequest: null,
    lazyConnect: true,
    socketTimeout: 5_000,
  });
  await closeRedis(redis, 'worker', reporter);
});

it('a URL says the same', async () => {
  const url = `redis://turns:${secret}@${server.host}:${server.port}/3?connectionName=mine`;
  const redis = await openRedis(url, 'commands', reporter);
  expect(await redis.client('INFO')).toMatch(/name=mine .*db=3 .*user=turns/);
  expect(redis.options).toMatchObject({ maxRetriesPerRequest: 1, enableOfflineQueue: false });
  await closeRedis(redis, 'commands', reporter);
});

it('a wrong password is told without it', async () => {
  const given = { ...server, username: 'turns', password: `${secret}!` };
  const refused = await openRedis(given, 'commands', reporter).catch((error: unknown) => error);
  expect(String(refused)).toContain(`cannot use redis://${server.host}:${server.port}: WRONGPASS`);
  expect(String(refused)).not.toContain(secret);
});
