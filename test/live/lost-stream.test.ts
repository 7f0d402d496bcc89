import { afterAll, beforeAll, expect, it } from '@jest/globals';
import type { Redis } from 'ioredis';
import { startRedis } from '../../dev/services/redis.ts';
import type { Service } from '../../dev/services/service.ts';
import { Levels } from '../../src/instrumentation/level.ts';
import { FollowerFeed } from '../../src/live/feed.ts';
import { type FollowDeps, follow } from '../../src/live/follow.ts';
import { openRedis } from '../../src/redis/connection.ts';
import { streamNotifier } from '../../src/redis/notifier.ts';
import { Subscriber } from '../../src/redis/subscriber.ts';
import { streamKeys, TurnStream } from '../../src/redis/turn-stream.ts';
import type { TextPart } from '../../src/reply/part.ts';
import { systemClock } from '../../src/timing/clock.ts';
import { applyEntry, emptyView, type TurnView } from '../../src/turn/entry.ts';
import type { StoredTurn } from '../../src/turn/stored-turn.ts';
import { viewOf } from '../../src/turn/stored-view.ts';
import { eventually } from '../support/eventually.ts';
import { followedStore } from '../support/followed-store.ts';

/** A turn whose followers' stream Redis loses, whole or in part, while it is told: the writer and the reader as they are. */
const prefix = 'lost-stream';
const reporter = { report: () => undefined };
let service: Service;
let redis: Redis;
let subscriber: Redis;
let channels: Subscriber;
let count = 0;

beforeAll(async () => {
  service = await startRedis(() => undefined, {});
  redis = await openRedis(service.url, 'commands', reporter);
  subscriber = await openRedis(service.url, 'subscriber', reporter);
  channels = new Subscriber(subscriber, reporter);
});
afterAll(async () => {
  subscriber?.disconnect();
  redis?.disconnect();
  await service?.stop();
});

const part = (text: string): TextPart =>
  ({ type: 'text', id: 'prt_1', messageId: 'msg_1', text }) as TextPart;
const question = {
  requestId: 'req_1',
  kind: 'question',
  sessionId: 'ses',
  details: {},
  askedAt: 1,
  state: 'open',
};
const said = 'The quick brown fox jumps over the lazy dog, and over Redis that forgets.';

class Told {
  readonly keys: { stream: string; meta: string; channel: string };
  readonly stream = new TurnStream({ redis, prefix });
  turn: StoredTurn;
  text = '';
  #feed: FollowerFeed;
  #epoch = 1;
  #kept: [string, Buffer][] = [];

  constructor() {
    count += 1;
    const id = count.toString(16).padStart(24, '0');
    this.keys = streamKeys(prefix, id);
    this.turn = {
      id,
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
      // Stored before it is told.
      requests: [question as never],
      artifacts: [],
      createdAt: 0,
    };
    this.#feed = this.#newFeed();
    this.#feed.begin();
    this.#feed.add({ type: 'progress', progress: 'started' });
    this.#feed.add({ type: 'request', request: question as never });
  }
  #newFeed() {
    return new FollowerFeed({
      publisher: this.stream,
      fence: { turnId: this.turn.id, epoch: this.#epoch },
      clock: systemClock,
      reporter,
      view: viewOf(this.turn),
      parts: () => (this.text === '' ? [] : [part(this.text)]),
      onOwnershipLost: () => undefined,
      intervalMs: 1,
    });
  }
  async say(length = 1): Promise<void> {
    this.text = said.slice(0, this.text.length + length);
    this.#feed.change(part(this.text));
    await this.#feed.flush();
  }
  /** What the worker writes every two seconds. */
  store(): void {
    const { at } = this.#feed;
    this.turn = {
      ...this.turn,
      parts: this.text === '' ? [] : [part(this.text)],
      requests: [question as never],
      run: { ...this.turn.run, ...(at ? { cursor: at.number, stream: at.stream } : {}) },
    };
  }
  /** The worker dies; the next owner joins. What was not stored is read from upstream again. */
  async adopt(): Promise<void> {
    await this.#feed.close();
    this.#epoch += 1;
    this.#feed = this.#newFeed();
    await this.#feed.open();
    this.#feed.add({ type: 'progress', progress: 'adopted' });
    if (this.text !== '') this.#feed.change(part(this.text), true);
    await this.#feed.flush();
  }
  lose(): Promise<unknown> {
    return redis.del(this.keys.stream, this.keys.meta);
  }
  /** What a replica has got so far. */
  async replicate(): Promise<void> {
    // One step, as each script is one for a replica.
    const keys = [this.keys.stream, this.keys.meta];
    const dumps = await keys.reduce((multi, key) => multi.dumpBuffer(key), redis.multi()).exec();
    this.#kept = keys.flatMap((key, at) => {
      const dump = dumps?.[at]?.[1] as Buffer | null | undefined;
      return dump ? [[key, dump] as [string, Buffer]] : [];
    });
  }
  /** The replica becomes the master. */
  async failOver(): Promise<void> {
    const gone = redis.multi().del(this.keys.stream, this.keys.meta);
    const answers = await this.#kept
      .reduce((multi, [key, dump]) => multi.restore(key, 3_600_000, dump), gone)
      .exec();
    for (const [error] of answers ?? []) if (error) throw error;
  }
  async finish(): Promise<void> {
    this.store();
    this.turn = { ...this.turn, status: 'completed', text: this.text };
    await this.#feed.end({ status: 'completed', text: this.text });
  }
  /** One that leaves and comes back whenever `again` is called. */
  reader(after?: string, before = emptyView) {
    let cursor = after;
    let view: TurnView = before;
    const seen = new Map<string, TurnView>();
    let leave = new AbortController();
    const store = followedStore(async () => this.turn);
    const notifier = streamNotifier(channels, prefix);
    const deps: FollowDeps = { store, stream: this.stream, notifier, levels: new Levels() };
    const done = (async () => {
      while (!view.end) {
        for await (const entry of follow(deps, this.turn.id, {
          signal: leave.signal,
          ...(cursor === undefined ? {} : { after: cursor }),
        })) {
          view = applyEntry(view, entry);
          cursor = entry.id;
          seen.set(entry.id, view);
        }
      }
      return view;
    })();
    return {
      done,
      seen: () => view,
      /** What a reader holds that has seen everything up to there. */
      at: (id: string) => seen.get(id),
      again: () => {
        leave.abort();
        leave = new AbortController();
      },
    };
  }
}

type Reader = ReturnType<Told['reader']>;
const textOf = (view: TurnView) => view.parts.map((each) => (each.type === 'tool' ? '' : each.text)).join('');
async function allHold(told: Told, readers: readonly Reader[]) {
  for (const reader of readers) {
    const view = await reader.done;
    expect(textOf(view)).toBe(told.text);
    expect(view).toMatchObject({
      status: 'completed',
      end: { text: told.text },
      requests: [{ requestId: 'req_1' }],
    });
  }
}

const losses: Record<string, (told: Told) => Promise<unknown>> = {
  FLUSHALL: () => redis.flushall(),
  'a failover to a replica that lacks the last entries': (told) => told.failOver(),
};
const moments: Record<string, (told: Told, lose: () => Promise<unknown>) => Promise<void>> = {
  'between two appends': async (told, lose) => {
    await lose();
    for (let n = 0; n < 30; n += 1) await told.say();
    await told.finish();
  },
  'between the last text and the end': async (told, lose) => {
    for (let n = 0; n < 5; n += 1) await told.say();
    await lose();
    await told.finish();
  },
  'after the end': async (told, lose) => {
    await told.say(5);
    await told.finish();
    await lose();
  },
  'before another worker goes on': async (told, lose) => {
    await lose();
    await told.adopt();
    for (let n = 0; n < 30; n += 1) await told.say();
    await told.finish();
  },
  'before another worker goes on and ends at once': async (told, lose) => {
    await told.say(3);
    await lose();
    await told.adopt();
    await told.finish();
  },
};

for (const loss of Object.keys(losses))
  it.each(Object.keys(moments))(
    `${loss} %s: every follower holds in the end what is stored`,
    async (moment) => {
      const told = new Told();
      const live = told.reader();
      for (let n = 0; n < 4; n += 1) await told.say();
      told.store();
      await told.replicate();
      for (let n = 0; n < 6; n += 1) await told.say();
      await eventually(() => expect(textOf(live.seen())).toBe(told.text));
      const early = told.reader();
      await eventually(() => expect(textOf(early.seen())).toBe(told.text));
      early.again();
      const keys = await redis.hgetall(told.keys.meta);
      // Below and above the numbers that the new stream will have.
      const late = [1, 3, 8, Number(keys.n)].map((number) => `${number}-${keys.g}`);
      expect(late.map((cursor) => live.at(cursor) !== undefined)).toEqual([true, true, true, true]);
      await moments[moment]?.(told, async () => losses[loss]?.(told));
      const resumed = late.map((cursor) => told.reader(cursor, live.at(cursor)));
      await allHold(told, [live, early, ...resumed, told.reader()]);
    },
  );

it('a storm of losses, failovers, adoptions and readers that come back leaves no follower with less', async () => {
  let state = 20261127;
  const random = (below: number) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return (state >>> 8) % below;
  };
  const run = async () => {
    const told = new Told();
    const readers = [told.reader()];
    const steps: (() => unknown)[] = [
      () => told.say(1 + random(3)),
      () => told.say(1 + random(3)),
      () => told.say(1 + random(3)),
      () => told.store(),
      () => told.replicate(),
      () => told.lose(),
      () => told.failOver(),
      () => told.adopt(),
      () => readers.push(told.reader()),
      () => readers[random(readers.length)]?.again(),
    ];
    for (let n = 0; n < 25; n += 1) {
      await steps[random(steps.length)]?.();
      if (random(3) === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    if (told.text === '') await told.say(3);
    await told.finish();
    await allHold(told, readers);
  };
  for (let round = 0; round < 10; round += 1) await Promise.all(Array.from({ length: 20 }, run));
});

it.each([
  '{"type":"text","partId',
  '{"type":"text","partId":5,"offset":4,"delta":"!"}',
  '{"type":"snapshot","view":null}',
  '[]',
])(
  'what is no entry of ours (%s) is skipped: a snapshot takes its place, and the rest follows',
  async (entry) => {
    const told = new Told();
    await told.say(4);
    told.store();
    const n = Number(await redis.hget(told.keys.meta, 'n'));
    await redis.xadd(told.keys.stream, `${n + 1}-0`, 'e', entry);
    await redis.hset(told.keys.meta, 'n', n + 1);
    const reader = told.reader();
    await eventually(() => expect(reader.seen().requests).toHaveLength(1));
    for (let i = 0; i < 10; i += 1) await told.say();
    await told.finish();
    await allHold(told, [reader, told.reader()]);
  },
);
