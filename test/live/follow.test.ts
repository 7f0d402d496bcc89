import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { Redis } from 'ioredis';
import { startRedis } from '../../dev/services/redis.ts';
import type { Service } from '../../dev/services/service.ts';
import { InvalidInputError, NotFoundError, ServiceUnavailableError } from '../../src/errors.ts';
import { Levels } from '../../src/instrumentation/level.ts';
import { type FollowDeps, type FollowOptions, follow } from '../../src/live/follow.ts';
import { openRedis } from '../../src/redis/connection.ts';
import { streamNotifier } from '../../src/redis/notifier.ts';
import { Subscriber } from '../../src/redis/subscriber.ts';
import { streamKeys, TurnStream } from '../../src/redis/turn-stream.ts';
import type { TextPart } from '../../src/reply/part.ts';
import { applyEntry, emptyView, type TurnEntry, type TurnEntryBody } from '../../src/turn/entry.ts';
import type { StoredTurn } from '../../src/turn/stored-turn.ts';
import { eventually } from '../support/eventually.ts';
import { followedStore } from '../support/followed-store.ts';
import { concatenated } from '../support/turns.ts';

const prefix = 'follow-test';
const reporter = { report: () => undefined };
const end = { status: 'completed', text: 'abcdefgh' } as const;
const text = (value: string): TextPart =>
  ({ type: 'text', id: 'prt_1', messageId: 'msg_1', text: value }) as TextPart;
const letters = [...'abcdefgh'].map(
  (delta, offset): TurnEntryBody => ({ type: 'text', partId: 'prt_1', offset, delta }),
);

let service: Service;
let redis: Redis;
let subscriber: Redis;
let stream: TurnStream;
let channels: Subscriber;
let count = 0;
let turn: StoredTurn;
let reads: number;
let looks: number;
/** Done by a follower between its read of the entries and its look at their last number. */
let between: () => Promise<unknown>;

beforeAll(async () => {
  service = await startRedis(() => undefined);
  redis = await openRedis(service.url, 'commands', reporter);
  subscriber = await openRedis(service.url, 'subscriber', reporter);
  channels = new Subscriber(subscriber, reporter);
});
afterAll(async () => {
  await redis?.quit();
  await subscriber?.quit();
  await service?.stop();
});
beforeEach(() => {
  count += 1;
  stream = new TurnStream({ redis, prefix });
  reads = 0;
  looks = 0;
  between = async () => undefined;
  turn = {
    id: `turn${count}`,
    conversationId: 'conversation',
    sequence: 2,
    status: 'pending',
    policy: 'default',
    uploads: [],
    userText: 'hello',
    text: '',
    reasoning: '',
    parts: [],
    run: { phase: 'prompted', epoch: 1, reruns: 0, resends: 0 },
    requests: [],
    artifacts: [],
    createdAt: 0,
  };
});

const deps = (): FollowDeps => ({
  levels: new Levels(),
  store: followedStore(async (id: string) => {
    looks += 1;
    await between();
    return id === turn.id ? turn : null;
  }),
  stream: {
    get closed() {
      return stream.closed;
    },
    read: (...args) => {
      reads += 1;
      return stream.read(...args);
    },
  },
  notifier: streamNotifier(channels, prefix),
});
const fence = () => ({ turnId: turn.id, epoch: 1 });
const tell = (...entries: TurnEntryBody[]) => stream.append(fence(), 'any', entries);
const numbers = (entries: readonly TurnEntry[]) => entries.map(({ id }) => Number.parseInt(id, 10));
/** The cursor of that entry in the stream as it is now. */
const behind = async (number: number) =>
  `${number}-${await redis.hget(streamKeys(prefix, turn.id).meta, 'g')}`;
const opened = (options: FollowOptions = {}) => follow(deps(), turn.id, options);
async function all(options: FollowOptions = {}): Promise<TurnEntry[]> {
  const entries: TurnEntry[] = [];
  for await (const entry of opened(options)) entries.push(entry);
  return entries;
}
const finish = () => {
  turn = { ...turn, status: 'completed', text: end.text, parts: [text(end.text)] };
  return stream.end(fence(), end);
};
const viewOf = (entries: readonly TurnEntry[]) => entries.reduce(applyEntry, emptyView);
const listening = async () => (await redis.pubsub('NUMSUB', streamKeys(prefix, turn.id).channel))[1];
const whole: TurnEntryBody[] = [{ type: 'part', part: text('') }, ...letters];

describe('a follower', () => {
  it('gets every entry in order, then the end, and is through', async () => {
    await tell(...whole);
    await finish();
    const entries = await all();
    expect(numbers(entries)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(concatenated(entries)).toBe(end.text);
    expect(entries.at(-1)).toEqual({ type: 'finished', ...end, id: await behind(10) });
  });

  it('that resumes behind any entry gets the rest: nothing is missing, nothing comes twice', async () => {
    await tell(...whole);
    await finish();
    const entries = await all();
    for (const [at, { id }] of entries.entries()) {
      const isLast = at === entries.length - 1;
      const rest = isLast ? [] : await all({ after: id });
      if (!isLast) expect(rest).toEqual(entries.slice(at + 1));
    }
  });

  it('gets what is told while it reads, within moments', async () => {
    const entries: TurnEntry[] = [];
    const done = (async () => {
      for await (const entry of opened()) entries.push(entry);
    })();
    await eventually(async () => expect(await listening()).toBe(1));
    const since = performance.now();
    for (const [at, entry] of whole.entries()) {
      await tell(entry);
      await eventually(() => expect(entries).toHaveLength(at + 1));
    }
    // Read every two seconds only, they would have taken twice as long.
    expect(performance.now() - since).toBeLessThan(whole.length * 1_000);
    await finish();
    await done;
    expect(concatenated(entries)).toBe(end.text);
  });

  it('asks Redis once per nudge, and the database for nothing while entries flow', async () => {
    const entries: TurnEntry[] = [];
    // Hears what the follower hears: that Redis has taken the subscription, then a nudge for each entry.
    let heard = 0;
    const unlisten = channels.listen(streamKeys(prefix, turn.id).channel, () => {
      heard += 1;
    });
    await eventually(() => expect(heard).toBe(1));
    const done = (async () => {
      for await (const entry of opened()) entries.push(entry);
    })();
    await eventually(() => expect(reads).toBe(1));
    await tell({ type: 'progress', progress: 'started' });
    await eventually(() => expect([heard, entries.length]).toEqual([2, 1]));
    const [readBefore, lookedBefore] = [reads, looks];
    for (const [at, entry] of whole.entries()) {
      await tell(entry);
      await eventually(() => expect(entries).toHaveLength(at + 2));
    }
    await finish();
    await done;
    unlisten();
    expect(looks - lookedBefore).toBe(0);
    expect(reads - readBefore).toBe(whole.length + 1);
  });

  it('gets it without any nudge too, only later', async () => {
    const entries: TurnEntry[] = [];
    const done = (async () => {
      for await (const entry of opened()) entries.push(entry);
    })();
    await eventually(async () => expect(await listening()).toBe(1));
    const { stream: key, meta } = streamKeys(prefix, turn.id);
    await redis.xadd(key, '1-0', 'e', JSON.stringify({ type: 'finished', ...end }));
    await redis.hset(meta, 'n', 1, 'g', 'a'.repeat(12));
    await done;
    expect(entries).toEqual([{ type: 'finished', ...end, id: await behind(1) }]);
  });

  it('that stands in the loop for long holds one batch, however much is told meanwhile', async () => {
    await tell(...letters);
    const reader = opened();
    await reader.next();
    for (let n = 0; n < 4; n += 1)
      await tell(...Array.from({ length: 500 }, () => letters[0] as TurnEntryBody));
    expect(reads).toBe(1);
    for (let n = 0; n < 10; n += 1) await reader.next();
    expect(reads).toBe(2);
    await reader.return(undefined);
  });

  it('shares one subscription with every other one, and each gets everything', async () => {
    const followers = [all(), all(), all()];
    await eventually(async () => expect(await listening()).toBe(1));
    const clients = async () => String(await redis.call('CLIENT', 'LIST', 'TYPE', 'pubsub'));
    expect((await clients()).trim().split('\n')).toHaveLength(1);
    await tell(...whole);
    await finish();
    const [one, two, three] = await Promise.all(followers);
    expect(one).toHaveLength(10);
    expect(two).toEqual(one);
    expect(three).toEqual(one);
    await eventually(async () => expect(await listening()).toBe(0));
  });
});

describe('leaving', () => {
  it('by abort ends the loop without an error, at once, and leaves no listener', async () => {
    const controller = new AbortController();
    const done = all({ signal: controller.signal });
    await eventually(async () => expect(await listening()).toBe(1));
    const since = performance.now();
    controller.abort();
    expect(await done).toEqual([]);
    // Woken by the abort, not by the next read after two seconds.
    expect(performance.now() - since).toBeLessThan(1_500);
    await eventually(async () => expect(await listening()).toBe(0));
    expect(await all({ signal: controller.signal })).toEqual([]);
  });

  it('by abort in the middle of a batch yields nothing more', async () => {
    await tell(...letters);
    const controller = new AbortController();
    const entries: TurnEntry[] = [];
    for await (const entry of opened({ signal: controller.signal })) {
      entries.push(entry);
      if (entries.length === 3) controller.abort();
    }
    expect(entries).toHaveLength(3);
  });

  it('by break leaves no listener either', async () => {
    await tell(...letters);
    for await (const _ of opened()) break;
    await eventually(async () => expect(await listening()).toBe(0));
  });
});

describe('what is no longer kept', () => {
  beforeEach(() => {
    stream = new TurnStream({ redis, prefix, maxLength: 4, keepMs: 100 });
  });

  it('is replaced by a snapshot, and then the reader has the whole text', async () => {
    await tell(...whole);
    // Stored a little earlier than what is kept: the snapshot is never newer than what comes behind it.
    turn = {
      ...turn,
      parts: [text('abcdef')],
      run: { ...turn.run, cursor: 7, stream: (await behind(7)).slice(2) },
    };
    for (const after of [undefined, await behind(1), await behind(4)]) {
      const reader = opened(after === undefined ? {} : { after });
      const entries = [];
      for (let n = 0; n < 3; n += 1) entries.push((await reader.next()).value as TurnEntry);
      expect(entries.map(({ type }) => type)).toEqual(['snapshot', 'text', 'text']);
      expect(numbers(entries)).toEqual([7, 8, 9]);
      expect(concatenated(entries)).toBe('abcdefgh');
      await reader.return(undefined);
    }
  });

  it('is not missed by a reader that has seen all of it', async () => {
    await tell(...whole);
    const reader = opened({ after: await behind(5) });
    expect(await reader.next()).toMatchObject({ value: { id: await behind(6), type: 'text' } });
    await reader.return(undefined);
  });

  it('for long after the end is a snapshot and the end', async () => {
    await tell(...whole);
    const after = await behind(3);
    await finish();
    await eventually(async () => expect(await redis.exists(streamKeys(prefix, turn.id).meta)).toBe(0));
    const entries = await all({ after });
    expect(entries.map(({ type }) => type)).toEqual(['snapshot', 'finished']);
    expect(viewOf(entries)).toMatchObject({ status: 'completed', end, parts: [{ text: end.text }] });
  });

  it('because Redis lost its data is a snapshot, and later entries follow', async () => {
    await tell(...whole);
    const reader = opened({ after: await behind(9) });
    const next = reader.next();
    await eventually(async () => expect(await listening()).toBe(1));
    // It has found nothing new, and waits.
    await eventually(() => expect(looks).toBe(1));
    await redis.del(...Object.values(streamKeys(prefix, turn.id)));
    turn = { ...turn, parts: [text('abcdefgh')] };
    await tell({ type: 'parts', parts: [text('abcdefgh!')] });
    // The new stream is read from its beginning, whatever of it the snapshot holds already.
    expect((await next).value).toMatchObject({ type: 'snapshot' });
    expect(await reader.next()).toMatchObject({ value: { type: 'parts', id: await behind(1) } });
    await tell({ type: 'progress', progress: 'adopted' });
    expect(await reader.next()).toMatchObject({ value: { type: 'progress', id: await behind(2) } });
    await reader.return(undefined);
  });
});

describe('the end', () => {
  it('comes once even when its writer died before telling it', async () => {
    await tell(...whole);
    turn = {
      ...turn,
      status: 'error',
      error: { reason: 'run_lost', message: 'for people', detail: 'for operators' },
    };
    const entries = await all({ after: await behind(9) });
    expect(entries.map(({ type }) => type)).toEqual(['snapshot', 'finished']);
    expect(entries.at(-1)).toMatchObject({
      status: 'error',
      error: { reason: 'run_lost', message: 'for people' },
    });
    expect(JSON.stringify(entries)).not.toContain('for operators');
  });

  it.each([
    ['is all that comes', [], ['finished']],
    ['comes behind what was told with it', [letters[0] as TurnEntryBody], ['text', 'finished']],
  ])(
    'that is told between a look at Redis and one at the turn %s, and is not told again',
    async (_, more, types) => {
      await tell(...whole);
      between = async () => {
        between = async () => undefined;
        await tell(...more);
        await finish();
      };
      const entries = await all({ after: await behind(9) });
      expect(entries.map(({ type }) => type)).toEqual(types);
      expect(entries.at(-1)?.id).toBe(await behind(9 + types.length));
    },
  );
});

describe('one who lacks something', () => {
  it('holds what is stored when the end is told between the look at a stream that is not his and one at the turn', async () => {
    await tell(...whole);
    const after = await behind(4);
    await redis.del(...Object.values(streamKeys(prefix, turn.id)));
    await tell({ type: 'snapshot', view: { ...emptyView, parts: [text(end.text)] } });
    between = async () => {
      between = async () => undefined;
      await finish();
    };
    const entries = await all({ after });
    expect(entries.map(({ type }) => type)).toEqual(['snapshot', 'finished']);
    expect(viewOf(entries)).toMatchObject({ status: 'completed', end, parts: [{ text: end.text }] });
    expect(numbers(entries)).toEqual([4, 5]);
  });

  it('holds what is stored when entries are trimmed between the two', async () => {
    await tell(...whole);
    between = async () => {
      between = async () => undefined;
      await tell(letters[0] as TurnEntryBody);
      await finish();
      await redis.xdel(streamKeys(prefix, turn.id).stream, '10-0');
    };
    const entries = await all({ after: await behind(9) });
    expect(entries.map(({ type }) => type)).toEqual(['snapshot', 'finished']);
  });

  it('lacks it no longer in the end, also when he leaves and comes back', async () => {
    await tell(...whole);
    turn = { ...turn, parts: [text('ab')] };
    turn = { ...turn, run: { ...turn.run, cursor: 3, stream: (await behind(3)).slice(2) } };
    // More was trimmed than is stored: nobody can tell him 'cde' before the end.
    await redis.xdel(streamKeys(prefix, turn.id).stream, ...[1, 2, 3, 4, 5, 6].map((n) => `${n}-0`));
    const seen: TurnEntry[] = [];
    for (let visit = 0; visit < 2; visit += 1) {
      const after = seen.at(-1)?.id;
      const reader = opened(after === undefined ? {} : { after });
      for (let n = 0; n < 3; n += 1) seen.push((await reader.next()).value as TurnEntry);
      await reader.return(undefined);
    }
    expect(viewOf(seen).parts).not.toMatchObject([{ text: end.text }]);
    await finish();
    seen.push(...(await all({ after: seen.at(-1)?.id as string })));
    expect(viewOf(seen)).toMatchObject({ status: 'completed', end, parts: [{ text: end.text }] });
    expect(seen.filter(({ type }) => type === 'finished')).toHaveLength(1);
  });
});

describe('what cannot be followed', () => {
  it('is refused by its class', async () => {
    await expect(follow(deps(), 'unknown', {}).next()).rejects.toEqual(new NotFoundError('turn', 'unknown'));
    for (const after of ['x', '-1', '1-0', '1-abc', `1-${'g'.repeat(12)}`, '9999999999999999'])
      await expect(opened({ after }).next()).rejects.toBeInstanceOf(InvalidInputError);
    const nothing = Object.create(null) as object;
    for (const after of [7, 0, ['1'], {}, nothing, null, false, Symbol('1'), '1'.repeat(1_000_000)])
      await expect(opened({ after: after as string }).next()).rejects.toBeInstanceOf(InvalidInputError);
    for (const options of [null, 'x', 7])
      await expect(follow(deps(), turn.id, options as never).next()).rejects.toBeInstanceOf(
        InvalidInputError,
      );
    const connection = await openRedis(service.url, 'commands', reporter);
    stream = new TurnStream({ redis: connection, prefix });
    // Ours to close: it does not come back.
    connection.disconnect();
    await expect(follow(deps(), turn.id, {}).next()).rejects.toBeInstanceOf(ServiceUnavailableError);
    await eventually(async () => expect(await listening()).toBe(0));
  });
});

describe('a service that is away', () => {
  type Service = 'MongoDB' | 'Redis';
  const away = { MongoDB: 0, Redis: 0 };
  const orAway = async <T>(name: Service, ask: () => Promise<T>): Promise<T> => {
    if (away[name] === 0) return ask();
    away[name] -= 1;
    throw new ServiceUnavailableError(name === 'Redis' ? 'redis' : 'mongodb', 'away');
  };
  const shaky = (): FollowDeps => {
    const { store, stream: kept, ...rest } = deps();
    return {
      ...rest,
      store: followedStore((id) => orAway('MongoDB', () => store.get(id))),
      stream: { closed: false, read: (...args) => orAway('Redis', () => kept.read(...args)) },
    };
  };

  it('(Redis) when it begins, or later, only delays it', async () => {
    away.Redis = 2;
    await tell(...whole);
    const entries: TurnEntry[] = [];
    for await (const entry of follow(shaky(), turn.id, {})) {
      entries.push(entry);
      if (Number.parseInt(entry.id, 10) !== 9) continue;
      expect(away.Redis).toBe(0);
      away.Redis = 2;
      await finish();
    }
    expect(concatenated(entries)).toBe(end.text);
    expect(entries.at(-1)).toEqual({ type: 'finished', ...end, id: await behind(10) });
  });

  it('(MongoDB) only delays one whose stream is kept no more, and is not asked by one whose stream is there', async () => {
    await tell(...whole);
    await finish();
    away.MongoDB = 2;
    const told = async () => {
      const entries: TurnEntry[] = [];
      for await (const entry of follow(shaky(), turn.id, {})) entries.push(entry);
      return entries;
    };
    expect((await told()).at(-1)).toEqual({ type: 'finished', ...end, id: await behind(10) });
    expect(away.MongoDB).toBe(2);
    await redis.del(...Object.values(streamKeys(prefix, turn.id)));
    expect((await told()).map(({ type }) => type)).toEqual(['snapshot', 'finished']);
    expect(away.MongoDB).toBe(0);
  });

  it.each<Service>(['MongoDB', 'Redis'])('(%s) holds nobody who leaves', async (name) => {
    away[name] = 10_000;
    const controller = new AbortController();
    const reading = follow(shaky(), turn.id, { signal: controller.signal }).next();
    await eventually(() => expect(away[name]).toBeLessThan(10_000));
    controller.abort();
    expect(await reading).toEqual({ done: true, value: undefined });
    away[name] = 0;
    await eventually(async () => expect(await listening()).toBe(0));
  });
});
