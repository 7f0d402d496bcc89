import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from '@jest/globals';
import type { Redis } from 'ioredis';
import { startRedis } from '../../dev/services/redis.ts';
import type { Service } from '../../dev/services/service.ts';
import type { ReportContext } from '../../src/instrumentation/error-reporter.ts';
import { openRedis } from '../../src/redis/connection.ts';
import { type Chore, Sweeper } from '../../src/redis/sweeper.ts';
import { type ManualClock, manualClock } from '../../src/testing/manual-clock.ts';
import { deferred } from '../support/deferred.ts';
import { eventually } from '../support/eventually.ts';

const prefix = `test-${process.pid}`;
const lease = `${prefix}:sweeper`;
const everyMs = 60_000;
const reports: { error: unknown; chore: unknown }[] = [];
const reporter = {
  report: (error: unknown, { chore }: ReportContext) => void reports.push({ error, chore }),
};
const never = new Promise<never>(() => undefined);
let service: Service;
let redis: Redis;
let clock: ManualClock;
const sweepers: Sweeper[] = [];
/** The owner of each sweep that was begun. */
const swept: string[] = [];

beforeAll(async () => {
  service = await startRedis(() => undefined);
  redis = await openRedis(service.url, 'commands', reporter);
}, 60_000);
afterAll(async () => {
  redis?.disconnect();
  await service?.stop();
});
beforeEach(async () => {
  await redis.del(lease);
  clock = manualClock();
  swept.length = 0;
  reports.length = 0;
});
afterEach(async () => {
  await Promise.all(sweepers.splice(0).map((sweeper) => sweeper.close()));
});

function sweeper(owner: string, chores: Record<string, Chore> = {}): Sweeper {
  const note = async () => swept.push(owner);
  const made = new Sweeper({ redis, prefix, owner, reporter, everyMs, chores: { note, ...chores }, clock });
  sweepers.push(made);
  return made;
}
const ttl = () => redis.pttl(lease);
/** The sweep under way has ended: its lease is shorter than the time to the next one. */
const ended = () => eventually(async () => expect(await ttl()).toBeLessThan(everyMs));
/** As long as a lease lives after its sweep, on the clock of Redis. */
const leaseOver = () => redis.del(lease);
/** Everybody has looked: the timers for the next time are set. */
const looked = () => eventually(() => expect(clock.waiting).toBe(sweepers.length));

it('of several workers one sweeps each time, and each has asked', async () => {
  await Promise.all(['a', 'b', 'c'].map((owner) => sweeper(owner).start()));
  await looked();
  expect(swept).toHaveLength(1);
  for (const times of [2, 3]) {
    await leaseOver();
    clock.jump(everyMs);
    await looked();
    expect(swept).toHaveLength(times);
  }
});

it('the one that swept alone sweeps again at its next read', async () => {
  await sweeper('a').start();
  await ended();
  const left = await ttl();
  expect(left).toBeGreaterThan(everyMs / 2);
  await redis.pexpire(lease, 1);
  await eventually(async () => expect(await redis.exists(lease)).toBe(0));
  clock.jump(everyMs);
  await eventually(() => expect(swept).toEqual(['a', 'a']));
});

it('a worker that dies in the middle of a sweep is followed by another one once its lease is over', async () => {
  await sweeper('dead', { hangs: () => never }).start();
  await eventually(() => expect(swept).toEqual(['dead']));
  expect(await ttl()).toBeLessThanOrEqual(everyMs + 10_000);
  expect(await redis.get(lease)).toBe('dead');
  await sweeper('b').start();
  expect(swept).toEqual(['dead']);
  await leaseOver();
  clock.jump(everyMs);
  await eventually(() => expect(swept).toEqual(['dead', 'b']));
});

it('one that is slower than its lease leaves that of its successor alone', async () => {
  const gate = deferred();
  const slow = sweeper('slow', { waits: () => gate.promise.then(() => 0) });
  await slow.start();
  await eventually(() => expect(swept).toEqual(['slow']));
  clock.jump(everyMs + 10_000);
  await redis.set(lease, 'successor', 'PX', 1_000_000);
  gate.resolve();
  await looked();
  expect(await ttl()).toBeGreaterThan(900_000);
  await slow.close();
  expect(await redis.get(lease)).toBe('successor');
});

it('a Redis that lost its data is swept at the next read', async () => {
  await sweeper('a').start();
  await ended();
  await redis.del(lease);
  clock.jump(everyMs);
  await eventually(() => expect(swept).toEqual(['a', 'a']));
});

it('a chore that fails is reported by name, holds up no other one, and comes again', async () => {
  let tried = 0;
  const fails = async () => {
    tried += 1;
    throw new Error('no luck');
  };
  const after = async () => swept.push('after');
  await sweeper('a', { fails, after }).start();
  await ended();
  expect(swept).toEqual(['a', 'after']);
  expect(reports).toMatchObject([{ error: { message: 'no luck' }, chore: 'fails' }]);
  await leaseOver();
  clock.jump(everyMs);
  await eventually(() => expect(swept).toEqual(['a', 'after', 'a', 'after']));
  expect(tried).toBe(2);
});

it('a read that Redis refuses is reported, and the next one sweeps', async () => {
  const wrong = await openRedis(service.url, 'commands', reporter);
  const made = new Sweeper({
    redis: wrong,
    prefix,
    owner: 'a',
    reporter,
    everyMs,
    chores: { note: async () => swept.push('a') },
    clock,
  });
  sweepers.push(made);
  await made.start();
  await ended();
  wrong.disconnect();
  clock.jump(everyMs);
  await eventually(() => expect(reports).toMatchObject([{ error: { name: 'ServiceUnavailableError' } }]));
  await leaseOver();
  await wrong.connect();
  await looked();
  clock.jump(everyMs);
  await eventually(() => expect(swept).toEqual(['a', 'a']));
  await made.close();
  wrong.disconnect();
});

it('start throws when Redis cannot be asked, and leaves no timer', async () => {
  const away = await openRedis(service.url, 'commands', reporter);
  away.disconnect();
  const made = new Sweeper({ redis: away, prefix, owner: 'a', reporter, everyMs, chores: {}, clock });
  await expect(made.start()).rejects.toMatchObject({ name: 'ServiceUnavailableError' });
  expect(clock.waiting).toBe(0);
});

it('close waits for the chore under way, begins no other, and leaves neither lease nor timer', async () => {
  const gate = deferred();
  const first = () => gate.promise.then(() => swept.push('first'));
  const second = async () => swept.push('second');
  const made = sweeper('a', { first, second });
  await made.start();
  await eventually(() => expect(swept).toEqual(['a']));
  const closed = made.close();
  gate.resolve();
  await closed;
  expect(swept).toEqual(['a', 'first']);
  expect(await redis.exists(lease)).toBe(0);
  expect(clock.waiting).toBe(0);
  // Whoever comes next sweeps at once.
  await sweeper('b').start();
  expect(swept).toEqual(['a', 'first', 'b']);
});

it('close of one that does not hold the lease leaves it to its holder', async () => {
  await sweeper('a').start();
  await ended();
  const other = sweeper('b');
  await other.start();
  await other.close();
  expect(await redis.get(lease)).toBe('a');
});

it('close under a chore that never ends takes a second, and what that one meets is told by nobody', async () => {
  const gate = deferred();
  const made = sweeper('a', { hangs: () => gate.promise.then(() => Promise.reject(new Error('late'))) });
  await made.start();
  await made.close();
  gate.resolve();
  await looked().catch(() => undefined);
  expect(reports).toEqual([]);
});

it.each([
  ['never ends', () => redis.set(lease, 'nobody')],
  ['ends in a day', () => redis.set(lease, 'nobody', 'PX', 86_400_000)],
  ['is no text', () => redis.lpush(lease, 'nobody')],
])('a lease that %s does not stop sweeps for good', async (_, spoil) => {
  await spoil();
  await sweeper('a').start();
  await looked();
  expect(swept).toEqual([]);
  expect(await ttl()).toBeGreaterThan(0);
  expect(await ttl()).toBeLessThanOrEqual(everyMs + 10_000);
});
