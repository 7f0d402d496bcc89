import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { Redis } from 'ioredis';
import { startRedis } from '../../dev/services/redis.ts';
import type { Service } from '../../dev/services/service.ts';
import { OwnershipLostError, ServiceUnavailableError } from '../../src/errors.ts';
import { openRedis } from '../../src/redis/connection.ts';
import { streamNotifier } from '../../src/redis/notifier.ts';
import { Subscriber } from '../../src/redis/subscriber.ts';
import { streamKeys, TurnStream, type TurnStreamOptions } from '../../src/redis/turn-stream.ts';
import { beginning } from '../../src/turn/stream-position.ts';
import { delta, end, part, phase, turnStreamContract } from '../contract/turn-stream.ts';
import { eventually } from '../support/eventually.ts';
import { startTcpProxy, through } from '../support/tcp-proxy.ts';

const prefix = 'stream-test';
const reporter = { report: () => undefined };
let service: Service;
let redis: Redis;
let subscribed: Redis;
let count = 0;
let turnId: string;

beforeAll(async () => {
  service = await startRedis(() => undefined);
  redis = await openRedis(service.url, 'commands', reporter);
  subscribed = await openRedis(service.url, 'subscriber', reporter);
});
afterAll(async () => {
  await redis?.quit();
  await subscribed?.quit();
  await service?.stop();
});
beforeEach(() => {
  count += 1;
  turnId = `turn${count}`;
});

const stream = (options: Partial<TurnStreamOptions> = {}) => new TurnStream({ redis, prefix, ...options });
const by = (epoch: number) => ({ turnId, epoch });
const ids = async () => (await redis.xrange(streamKeys(prefix, turnId).stream, '-', '+')).map(([id]) => id);
const behind = async (number: number, batch = { count: 1_000, bytes: 1_000_000 }) => {
  const name = (await redis.hget(streamKeys(prefix, turnId).meta, 'g')) ?? '';
  return stream().read(turnId, number === 0 ? beginning : { stream: name, number }, batch);
};
const entries = async (number: number, count = 1_000) =>
  (await behind(number, { count, bytes: 1_000_000 })).entries.map(({ number: at, body }) => ({
    number: at,
    body,
  }));
const bodies = async () => (await entries(0)).map(({ body }) => body);
const lastNumber = async () => (await behind(0)).last.number;
/** Everything that Redis holds of the turn. */
const dump = async () => ({
  entries: await redis.xrange(streamKeys(prefix, turnId).stream, '-', '+'),
  meta: await redis.hgetall(streamKeys(prefix, turnId).meta),
});

describe('the contract', () => {
  turnStreamContract(async () => ({
    stream,
    notifier: streamNotifier(new Subscriber(subscribed, reporter), prefix),
    newTurn: () => `contract${++count}`,
  }));
});

describe('entries', () => {
  it('are numbered 1-0, 2-0, 3-0 … and come back in order, whole', async () => {
    expect(await stream().append(by(1), 'any', [phase, part('a')])).toMatchObject({ number: 2 });
    expect(await stream().append(by(1), 'any', [delta(1, '世界 \u0000 👩‍🚀')])).toMatchObject({ number: 3 });
    expect(await ids()).toEqual(['1-0', '2-0', '3-0']);
    expect(await bodies()).toEqual([phase, part('a'), delta(1, '世界 \u0000 👩‍🚀')]);
    expect(await entries(1, 1)).toEqual([{ number: 2, body: part('a') }]);
    expect(await entries(3)).toEqual([]);
    expect(await lastNumber()).toBe(3);
  });

  it('go on in a Redis that has lost its scripts', async () => {
    await stream().append(by(1), 'any', [phase]);
    await redis.script('FLUSH');
    expect(await stream().append(by(1), 'any', [part('a')])).toMatchObject({ number: 2 });
    expect(await bodies()).toEqual([phase, part('a')]);
  });
});

describe('an older epoch', () => {
  it('writes nothing, ends nothing and wakes nobody', async () => {
    await stream().append(by(2), 'any', [phase]);
    const before = await dump();
    const heard: string[] = [];
    const listener = await openRedis(service.url, 'subscriber', reporter);
    await listener.subscribe(streamKeys(prefix, turnId).channel);
    listener.on('message', (_, message) => heard.push(message));
    const lost = new OwnershipLostError(turnId, 1);
    await expect(stream().append(by(1), 'any', [delta(0, 'zombie')])).rejects.toEqual(lost);
    await expect(stream().end(by(1), end)).rejects.toEqual(lost);
    await expect(stream().open(by(1))).rejects.toEqual(lost);
    expect(await dump()).toEqual(before);
    // The newer owner's nudge comes over the same connection: what the older one had sent would be in front of it.
    await stream().append(by(2), 'any', [delta(0, 'owner')]);
    await eventually(() => expect(heard).not.toEqual([]));
    expect(heard).toEqual(['2']);
    listener.disconnect();
  });
});

describe('a place', () => {
  const none = { stream: 'f'.repeat(12), number: 1 };

  it('is written behind only while the stream stands there', async () => {
    const first = await stream().append(by(1), 'any', [phase, part('a')]);
    if (!first) throw new Error('not appended');
    const second = await stream().append(by(1), first, [delta(1, 'b')]);
    expect(second).toEqual({ stream: first.stream, number: 3 });
    const before = await dump();
    for (const place of [first, none, { ...first, number: 4 }, { ...none, number: 3 }])
      expect(await stream().append(by(1), place, [delta(2, 'c')])).toBeNull();
    expect(await dump()).toEqual(before);
    await redis.del(...Object.values(streamKeys(prefix, turnId)));
    expect(await stream().append(by(1), second as never, [delta(2, 'c')])).toBeNull();
    expect(await bodies()).toEqual([]);
  });

  it('of a reader stays good over one change of owners, up to what the new one found', async () => {
    const first = await stream().append(by(1), 'any', [phase, part('a'), delta(1, 'b')]);
    if (!first) throw new Error('not appended');
    // A failover to a replica that lacks the last entry; only then somebody else takes the turn over.
    await redis.xdel(streamKeys(prefix, turnId).stream, '3-0');
    await redis.call('XSETID', streamKeys(prefix, turnId).stream, '2-0');
    await redis.hset(streamKeys(prefix, turnId).meta, 'n', 2);
    const { at } = await stream().open(by(2));
    expect(at).toMatchObject({ number: 2 });
    expect(at.stream).not.toBe(first.stream);
    await stream().append(by(2), at, [delta(1, 'x')]);
    const known = async (number: number) =>
      (await stream().read(turnId, { ...first, number }, { count: 9, bytes: 9_999 })).known;
    expect([await known(1), await known(2), await known(3)]).toEqual([true, true, false]);
  });
});

describe('a read', () => {
  it('throws for nothing that somebody has written into the stream', async () => {
    await stream().append(by(1), 'any', [phase]);
    const junk = ['{', '', 'null', '5', '"text"', '[]', '{"type":5}', '\u0000'];
    for (const [at, text] of junk.entries())
      await redis.xadd(streamKeys(prefix, turnId).stream, `${at + 2}-0`, 'e', text);
    expect(await bodies()).toEqual([phase, ...junk.map(() => undefined)]);
    expect((await stream().open(by(1))).view).toBeNull();
  });
});

describe('what is kept', () => {
  it('is bounded in time: long while the turn lives, short after its end', async () => {
    const { stream: entries, meta } = streamKeys(prefix, turnId);
    const short = stream({ abandonedMs: 60_000, keepMs: 5_000 });
    const ttls = async () => [await redis.pttl(entries), await redis.pttl(meta)];
    await short.append(by(1), 'any', [phase]);
    for (const ttl of await ttls()) expect([ttl > 50_000, ttl <= 60_000]).toEqual([true, true]);
    await short.end(by(1), end);
    for (const ttl of await ttls()) expect([ttl > 0, ttl <= 5_000]).toEqual([true, true]);
  });

  it('has no key without a time to live', async () => {
    const keys = await redis.keys(`${prefix}:*`);
    expect(keys.length).toBeGreaterThan(10);
    const forever = await Promise.all(keys.map(async (key) => (await redis.pttl(key)) === -1));
    expect(forever).not.toContain(true);
  });
});

const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;

it('Redis away is ServiceUnavailableError, from every call, and whoever leaves then keeps no timer', async () => {
  const before = timers();
  const wire = await startTcpProxy(service.url);
  const connection = await openRedis(through(wire, service.url), 'commands', reporter);
  const away = stream({ redis: connection });
  wire.cut();
  for (const call of [
    () => away.append(by(1), 'any', [phase]),
    () => away.end(by(1), end),
    () => away.open(by(1)),
    () => away.read(turnId, beginning, { count: 1, bytes: 1 }),
  ])
    await expect(call()).rejects.toMatchObject({ service: 'redis', constructor: ServiceUnavailableError });
  connection.disconnect();
  await wire.stop();
  expect(await bodies()).toEqual([]);
  await eventually(() => expect(timers()).toBe(before), 1_000);
});
