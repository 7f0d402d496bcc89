/** What followers read of Redis, where whoever has its password can write anything; and what they make of it. */
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { Redis } from 'ioredis';
import { startRedis } from '../../dev/services/redis.ts';
import type { Service } from '../../dev/services/service.ts';
import { TurnsError } from '../../src/errors.ts';
import { Levels } from '../../src/instrumentation/level.ts';
import { follow } from '../../src/live/follow.ts';
import type { TurnReader } from '../../src/ports/turn-stream.ts';
import { openRedis } from '../../src/redis/connection.ts';
import { streamKeys, TurnStream } from '../../src/redis/turn-stream.ts';
import { applyEntry, emptyView, isEntry, type TurnEntry, type TurnView } from '../../src/turn/entry.ts';
import type { StoredTurn } from '../../src/turn/stored-turn.ts';
import { entries, someEntry } from '../support/arbitrary.ts';
import { followedStore } from '../support/followed-store.ts';
import '../support/fuzz-seed.ts';

const prefix = 'fuzz-entries';
let service: Service;
let redis: Redis;
let stream: TurnStream;

beforeAll(async () => {
  service = await startRedis(() => undefined);
  redis = await openRedis(service.url, 'commands', { report: () => undefined });
  stream = new TurnStream({ redis, prefix });
});
afterAll(async () => {
  await redis.quit();
  await service.stop();
});

const json = (value: unknown) =>
  JSON.stringify(value, (_key, one) => (typeof one === 'bigint' ? String(one) : one)) ?? '';
const size = (value: unknown) => json(value).length;
/** A view is one that a snapshot could carry: a page that is given it can show all of it. */
const isView = (view: TurnView) => isEntry({ type: 'snapshot', view });

it('entries: whatever is folded, what comes out is a view, no larger than what went in', () => {
  fc.assert(
    fc.property(fc.array(someEntry, { maxLength: 12 }), (list) => {
      let view = emptyView;
      let told = size(view);
      for (const entry of list) {
        const before = json(view);
        const next = applyEntry(view, entry as never);
        expect(json(view)).toBe(before);
        if (!isEntry(entry)) expect(next).toBe(view);
        // Each entry adds at most what it holds, and its end stands in the view a second time.
        told += 2 * size(entry) + 100;
        expect(size(next)).toBeLessThanOrEqual(told);
        expect(isView(next)).toBe(true);
        view = next;
      }
    }),
    { numRuns: 500 },
  );
});

/** What somebody has put where the stream of a turn is. */
const rows = fc.array(
  fc.record({
    id: fc.oneof(
      fc.nat(12),
      fc.nat(12),
      fc.constantFrom('0-1', '3-7', '999999999999999-0', '18446744073709551615-1'),
    ),
    text: fc.oneof(
      someEntry.map((entry) => json(entry)),
      fc.json(),
      fc.string({ unit: 'binary' }),
      fc.constantFrom('', '{', 'null', '[]', '{"type":"__proto__"}'),
    ),
  }),
  { maxLength: 10 },
);
const number = fc.oneof(
  fc.nat(12).map(String),
  fc.constantFrom('', 'x', '-1', '1.5', 'nan', 'inf', '1e300', '0x10', '99999999999999999999', ' 3'),
);
const name = fc.constantFrom('0123456789ab', 'fedcba987654', '', 'x', '\u0000');
const meta = fc.record(
  { g: name, n: number, before: name, until: number, epoch: number, bytes: number, ended: number },
  { requiredKeys: [] },
);
const cursor = fc.oneof(
  fc.constant(undefined),
  fc
    .tuple(fc.nat(14), name)
    .map(([at, stream]) => (/^[0-9a-f]{12}$/.test(stream) ? `${at}-${stream}` : `${at}`)),
);

const stored = (id: string): StoredTurn => ({
  id,
  conversationId: 'conversation',
  sequence: 2,
  status: 'completed',
  policy: 'default',
  uploads: [],
  userText: 'hello',
  text: 'stored',
  reasoning: '',
  parts: [{ type: 'text', id: 'prt_1', messageId: 'msg_1', text: 'stored' } as never],
  run: { phase: 'finished', epoch: 1, reruns: 0, resends: 0, cursor: 3, stream: '0123456789ab' },
  requests: [],
  artifacts: [],
  createdAt: 0,
});

let count = 0;
async function plant(content: { rows: readonly { id: number | string; text: string }[]; meta: object }) {
  count += 1;
  const id = `turn${count}`;
  const keys = streamKeys(prefix, id);
  // Redis takes ids in rising order only.
  for (const { id: at, text } of content.rows)
    await redis
      .xadd(keys.stream, typeof at === 'number' ? `${at}-0` : at, 'e', text, 'b', 0)
      .catch(() => undefined);
  if (Object.keys(content.meta).length > 0) await redis.hset(keys.meta, content.meta);
  return id;
}

/** Follows to the end; a reader who is led round in circles is stopped. */
async function followed(
  id: string,
  after: string | undefined,
): Promise<{ reads: number; told: TurnEntry[] }> {
  let reads = 0;
  const reader: TurnReader = {
    closed: false,
    read: (...args) => {
      reads += 1;
      if (reads > 100) throw new Error('read again and again');
      return stream.read(...args);
    },
  };
  const told: TurnEntry[] = [];
  const deps = {
    store: followedStore(async () => stored(id)),
    stream: reader,
    levels: new Levels(),
    notifier: { listen: () => () => undefined } as never,
  };
  for await (const entry of follow(deps, id, after === undefined ? {} : { after })) told.push(entry);
  return { reads, told };
}

it('the stream in Redis: a follower of a finished turn comes to its end, and holds a view', async () => {
  const planted = fc.record({ rows, meta });
  await fc.assert(
    fc.asyncProperty(planted, cursor, async (content, after) => {
      const id = await plant(content);
      const { reads, told } = await followed(id, after);
      expect(told.at(-1)?.type).toBe('finished');
      // One look and one snapshot for each entry that is none, and a few at the end.
      expect(reads).toBeLessThanOrEqual(2 * content.rows.length + 4);
      expect(told.length).toBeLessThanOrEqual(2 * content.rows.length + 4);
      const view = told.reduce(applyEntry, emptyView);
      expect(isView(view)).toBe(true);
      for (const { id: one } of told) expect(one).toMatch(/^\d{1,16}(-[0-9a-f]{12})?$/);
    }),
    { numRuns: 400 },
  );
});

it('the stream in Redis: whoever takes the turn over writes its end, or is told why not by a typed error', async () => {
  const planted = fc.record({ rows, meta });
  await fc.assert(
    fc.asyncProperty(planted, async (content) => {
      const id = await plant(content);
      const fence = { turnId: id, epoch: 5 };
      try {
        const { view } = await stream.open(fence);
        if (view) expect(isView(view)).toBe(true);
        const at = await stream.append(fence, 'any', [{ type: 'progress', progress: 'started' }]);
        if (at) expect(Number.isSafeInteger(at.number)).toBe(true);
        await stream.end(fence, { status: 'completed', text: 'x' });
      } catch (error) {
        expect(error).toBeInstanceOf(TurnsError);
      }
    }),
    { numRuns: 400 },
  );
});

it('entries behind the number that the hash tells lead a reader round in no circle', async () => {
  const rows = ['x', '{"type":"phase","phase":"started"}'].map((text, at) => ({ id: 7 + at, text }));
  for (const n of ['', 'x', '0', '3', '7'])
    for (const after of [undefined, '2-0123456789ab', '9-0123456789ab']) {
      const id = await plant({ rows, meta: { g: '0123456789ab', n } });
      expect((await followed(id, after)).told.at(-1)?.type).toBe('finished');
    }
});

it('keys of another kind in its place are as good as none, and made good by whoever takes the turn over', async () => {
  const id = await plant({ rows: [], meta: {} });
  const keys = streamKeys(prefix, id);
  await redis.set(keys.stream, 'x');
  await redis.set(keys.meta, 'x');
  expect((await followed(id, undefined)).told.map(({ type }) => type)).toEqual(['snapshot', 'finished']);
  const fence = { turnId: id, epoch: 1 };
  expect(await stream.open(fence)).toMatchObject({ view: null });
  await stream.end(fence, { status: 'completed', text: 'x' });
  expect((await followed(id, undefined)).told.at(-1)).toMatchObject({ type: 'finished', text: 'x' });
});

it('entries of every type are among those that are tried', () => {
  const tried = fc.sample(someEntry, 2_000).filter(isEntry);
  const types = new Set<string>(tried.map(({ type }) => type));
  expect(Object.keys(entries).filter((type) => !types.has(type))).toEqual([]);
});
