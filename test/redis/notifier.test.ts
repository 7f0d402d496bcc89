import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { Redis } from 'ioredis';
import { startRedis } from '../../dev/services/redis.ts';
import type { Service } from '../../dev/services/service.ts';
import { openRedis } from '../../src/redis/connection.ts';
import { controlChannel, controlNotifier } from '../../src/redis/notifier.ts';
import { Subscriber } from '../../src/redis/subscriber.ts';
import { notifierContract } from '../contract/notifier.ts';
import { eventually } from '../support/eventually.ts';

const reports: string[] = [];
const reporter = {
  report: (_: unknown, { action }: { action: string }) => {
    reports.push(action);
  },
};
let service: Service;
let redis: Redis;
let connection: Redis;
let subscriber: Subscriber;
let count = 0;
let channel: string;

beforeAll(async () => {
  service = await startRedis(() => undefined);
  redis = await openRedis(service.url, 'commands', reporter);
  connection = await openRedis(service.url, 'subscriber', reporter);
  subscriber = new Subscriber(connection, reporter);
});
afterAll(async () => {
  await redis?.quit();
  await connection?.quit();
  await service?.stop();
});
beforeEach(() => {
  count += 1;
  channel = `channel${count}`;
  reports.length = 0;
});

const subscribers = async () => (await redis.pubsub('NUMSUB', channel))[1];
const publish = () => redis.publish(channel, 'changed');

/** `looks`: how often it was told that messages may have been missed. */
function listener() {
  let calls = 0;
  let looks = 0;
  const off = subscriber.listen(channel, (message) => {
    if (message === undefined) looks += 1;
    else calls += 1;
  });
  return { off, calls: () => calls, looks: () => looks };
}

it('any number of listeners share one subscription, and the last one to go ends it', async () => {
  const listeners = Array.from({ length: 100 }, listener);
  await eventually(async () => expect(await subscribers()).toBe(1));
  await publish();
  await eventually(() => expect(listeners.map(({ calls }) => calls())).toEqual(Array(100).fill(1)));
  for (const { off } of listeners.slice(1)) off();
  await publish();
  await eventually(() => expect(listeners[0]?.calls()).toBe(2));
  expect(listeners[1]?.calls()).toBe(1);
  listeners[0]?.off();
  listeners[0]?.off();
  await eventually(async () => expect(await subscribers()).toBe(0));
  expect(reports).toEqual([]);
});

it('a listener that comes the moment the last one goes is heard', async () => {
  const first = listener();
  first.off();
  const second = listener();
  await eventually(async () => expect(await subscribers()).toBe(1));
  await publish();
  await eventually(() => expect(second.calls()).toBe(1));
  expect(first.calls()).toBe(0);
  second.off();
});

it('once Redis has taken the subscription every listener looks: until then messages went to nobody', async () => {
  const early = listener();
  expect(early.looks()).toBe(0);
  await eventually(() => expect(early.looks()).toBe(1));
  expect(await subscribers()).toBe(1);
  const late = listener();
  await publish();
  await eventually(() => expect(late.calls()).toBe(1));
  expect(late.looks()).toBe(0);
  early.off();
  late.off();
});

it('after a reconnect every listener looks, and hears again', async () => {
  const { off, calls, looks } = listener();
  await eventually(() => expect(looks()).toBe(1));
  await redis.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
  await eventually(() => expect(looks()).toBe(2));
  await eventually(async () => expect(await subscribers()).toBe(1));
  await publish();
  await eventually(() => expect(calls()).toBe(1));
  off();
});

it('requests for one turn notify its owner only, and a reconnect wakes all, over one subscription', async () => {
  const control = controlNotifier({ subscriber, redis, prefix: 'prefix' });
  const woken: string[] = [];
  const offs = ['a', 'b', 'b'].map((turn) => control.listen(turn, () => woken.push(turn)));
  channel = controlChannel('prefix');
  await eventually(() => expect(woken).toEqual(['a', 'b', 'b']));
  woken.length = 0;
  await control.notify('b');
  await eventually(() => expect(woken).toEqual(['b', 'b']));
  offs[2]?.();
  await redis.publish(channel, 'unknown');
  await redis.publish(channel, 'b');
  await eventually(() => expect(woken).toEqual(['b', 'b', 'b']));
  woken.length = 0;
  await redis.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
  await eventually(() => expect(woken).toEqual(['a', 'b']));
  for (const off of offs) off();
  const late: string[] = [];
  const off = control.listen('b', () => late.push('b'));
  await eventually(async () => expect(await subscribers()).toBe(1));
  await redis.publish(channel, 'b');
  await eventually(() => expect(late).toEqual(['b']));
  expect(woken).toEqual(['a', 'b']);
  off();
});

describe('the contract', () => {
  notifierContract(async () => ({
    notifier: controlNotifier({ subscriber, redis, prefix: 'contract' }),
    newTurn: () => `turn${++count}`,
  }));
});
