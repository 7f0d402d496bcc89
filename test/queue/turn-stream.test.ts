import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { Redis } from 'ioredis';
import { startRedis } from '../../src/dev/services/redis.ts';
import type { Service } from '../../src/dev/services/service.ts';
import { LeaseLostError, ServiceUnavailableError } from '../../src/errors.ts';
import { openRedis } from '../../src/queue/redis.ts';
import { streamKeys, TurnStream, type TurnStreamOptions } from '../../src/queue/turn-stream.ts';
import type { TextPart } from '../../src/reply/part.ts';
import type { TurnEntryBody } from '../../src/turn/turn-entry.ts';
import { eventually } from '../support/eventually.ts';
import { startTcpProxy, through } from '../support/tcp-proxy.ts';

const prefix = 'stream-test';
const reporter = { report: () => undefined };
const end = { status: 'completed', text: 'ab' } as const;
const phase = { type: 'phase', phase: 'prompted' } as const;
const delta = (offset: number, text: string): TurnEntryBody => ({
  type: 'text',
  partId: 'prt_1',
  offset,
  delta: text,
});
const part = (text: string): TurnEntryBody => ({
  type: 'part',
  part: { type: 'text', id: 'prt_1', messageId: 'msg_1', text } as TextPart,
});

let service: Service;
let redis: Redis;
let count = 0;
let turnId: string;

beforeAll(async () => {
  service = await startRedis(() => undefined);
  redis = await openRedis(service.url, 'commands', reporter);
});
afterAll(async () => {
  await redis?.quit();
  await service?.stop();
});
beforeEach(() => {
  count += 1;
  turnId = `turn${count}`;
});

const stream = (options: Partial<TurnStreamOptions> = {}) => new TurnStream({ redis, prefix, ...options });
const by = (epoch: number) => ({ turnId, epoch });
const ids = async () => (await redis.xrange(streamKeys(prefix, turnId).stream, '-', '+')).map(([id]) => id);
const bodies = async () => (await stream().read(turnId, 0, 1_000)).map(({ body }) => body);
/** Everything that Redis holds of the turn. */
const dump = async () => ({
  entries: await redis.xrange(streamKeys(prefix, turnId).stream, '-', '+'),
  meta: await redis.hgetall(streamKeys(prefix, turnId).meta),
});

describe('entries', () => {
  it('are numbered 1-0, 2-0, 3-0 … and come back in order, whole', async () => {
    expect(await stream().append(by(1), [phase, part('a')])).toBe(2);
    expect(await stream().append(by(1), [delta(1, '世界 \u0000 👩‍🚀')])).toBe(3);
    expect(await ids()).toEqual(['1-0', '2-0', '3-0']);
    expect(await bodies()).toEqual([phase, part('a'), delta(1, '世界 \u0000 👩‍🚀')]);
    expect(await stream().read(turnId, 1, 1)).toEqual([{ number: 2, body: part('a') }]);
    expect(await stream().read(turnId, 3, 10)).toEqual([]);
    expect(await stream().lastNumber(turnId)).toBe(3);
  });

  it('are kept up to a number of bytes, and the last one whatever its size', async () => {
    const bounded = stream({ maxBytes: 1_000 });
    const sizes = async () =>
      (await bounded.read(turnId, 0, 100)).map(({ body }) => JSON.stringify(body).length);
    for (let n = 0; n < 20; n += 1) await bounded.append(by(1), [part('x'.repeat(200)), phase]);
    const kept = await sizes();
    expect(kept.length).toBeGreaterThan(4);
    expect(kept.reduce((a, b) => a + b)).toBeLessThanOrEqual(1_000);
    expect((await ids()).at(-1)).toBe('40-0');
    await bounded.append(by(1), [part('y'.repeat(5_000))]);
    expect(await ids()).toEqual(['41-0']);
    await bounded.append(by(1), [phase]);
    expect(await ids()).toEqual(['42-0']);
    // Nothing that was told to the end of what is kept counts as missing: the numbers go on.
    expect(await bounded.lastNumber(turnId)).toBe(42);
  });

  it('go on in a Redis that has lost its scripts', async () => {
    await stream().append(by(1), [phase]);
    await redis.script('FLUSH');
    expect(await stream().append(by(1), [part('a')])).toBe(2);
    expect(await bodies()).toEqual([phase, part('a')]);
  });

  it('of writers that race get every number once, and stay together as they were appended', async () => {
    const pairs = Array.from({ length: 40 }, (_, n) => [delta(n, `${n} first`), delta(n, `${n} second`)]);
    await Promise.all(pairs.map((pair) => stream().append(by(1), pair)));
    expect(await ids()).toEqual(Array.from({ length: 80 }, (_, n) => `${n + 1}-0`));
    const read = await bodies();
    for (let n = 0; n < 80; n += 2) {
      const pair = pairs.find(([first]) => JSON.stringify(first) === JSON.stringify(read[n]));
      expect(read[n + 1]).toEqual(pair?.[1]);
    }
  });

  it('of a turn that was never told are none', async () => {
    expect(await stream().read(turnId, 0, 10)).toEqual([]);
    expect(await stream().lastNumber(turnId)).toBe(0);
  });
});

describe('an older epoch', () => {
  it('writes nothing, ends nothing and wakes nobody', async () => {
    await stream().append(by(2), [phase]);
    const before = await dump();
    const heard: string[] = [];
    const listener = await openRedis(service.url, 'subscriber', reporter);
    await listener.subscribe(streamKeys(prefix, turnId).channel);
    listener.on('message', (_, message) => heard.push(message));
    const lost = new LeaseLostError(turnId, 1);
    await expect(stream().append(by(1), [delta(0, 'zombie')])).rejects.toEqual(lost);
    await expect(stream().end(by(1), end)).rejects.toEqual(lost);
    await expect(stream().open(by(1))).rejects.toEqual(lost);
    expect(await dump()).toEqual(before);
    // The newer owner's nudge comes over the same connection: what the older one had sent would be in front of it.
    await stream().append(by(2), [delta(0, 'owner')]);
    await eventually(() => expect(heard).not.toEqual([]));
    expect(heard).toEqual(['2']);
    listener.disconnect();
  });

  it('is shut out from the moment a newer one opens, before that has anything to tell', async () => {
    await stream().append(by(1), [phase]);
    await stream().open(by(2));
    await expect(stream().append(by(1), [delta(0, 'late')])).rejects.toBeInstanceOf(LeaseLostError);
    expect(await bodies()).toEqual([phase]);
  });
});

describe('opening', () => {
  it('answers what followers have been told', async () => {
    await stream().append(by(1), [phase, part('a'), delta(1, 'b')]);
    expect(await stream().open(by(2))).toMatchObject({
      phase: 'prompted',
      parts: [{ id: 'prt_1', text: 'ab' }],
    });
  });

  it('answers null when the beginning is no longer kept, or there never was one', async () => {
    expect(await stream().open(by(1))).toBeNull();
    const short = stream({ maxLength: 2 });
    await short.append(by(1), [phase, part('a'), delta(1, 'b')]);
    expect(await short.open(by(2))).toBeNull();
  });
});

describe('the end', () => {
  it('is told once: nothing comes behind it, whoever writes', async () => {
    await stream().append(by(1), [part('ab')]);
    await stream().end(by(1), end);
    const before = await dump();
    await stream().end(by(1), { status: 'error', text: '' });
    await stream().end(by(2), { status: 'error', text: '' });
    expect(await stream().append(by(2), [delta(2, 'more')])).toBe(2);
    expect(await dump()).toEqual(before);
    expect(await bodies()).toEqual([part('ab'), { type: 'finished', ...end }]);
  });
});

describe('what is kept', () => {
  it('is bounded in length: the oldest go, numbers stay', async () => {
    const short = stream({ maxLength: 10 });
    for (let n = 0; n < 50; n += 5)
      await short.append(
        by(1),
        Array.from({ length: 5 }, (_, m) => delta(n + m, 'x')),
      );
    expect(await ids()).toEqual(Array.from({ length: 10 }, (_, n) => `${n + 41}-0`));
    expect(await short.lastNumber(turnId)).toBe(50);
  });

  it('is bounded in time: long while the turn lives, short after its end', async () => {
    const { stream: entries, meta } = streamKeys(prefix, turnId);
    const short = stream({ abandonedMs: 60_000, keepMs: 5_000 });
    const ttls = async () => [await redis.pttl(entries), await redis.pttl(meta)];
    await short.append(by(1), [phase]);
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
    () => away.append(by(1), [phase]),
    () => away.end(by(1), end),
    () => away.open(by(1)),
    () => away.read(turnId, 0, 1),
    () => away.lastNumber(turnId),
  ])
    await expect(call()).rejects.toMatchObject({ service: 'redis', constructor: ServiceUnavailableError });
  connection.disconnect();
  await wire.stop();
  expect(await bodies()).toEqual([]);
  await eventually(() => expect(timers()).toBe(before), 1_000);
});
