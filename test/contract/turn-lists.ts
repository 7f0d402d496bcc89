/** What every TurnLists owes those who read, over a TurnStore of the same database. */
import { beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { NotFoundError } from '../../src/errors.ts';
import { maxPageLength, type TurnLists } from '../../src/ports/turn-lists.ts';
import type { Fence, NewTurn, TurnStore } from '../../src/ports/turn-store.ts';
import type { ListedMessage, MessagePage } from '../../src/turn/listed.ts';
import { ended } from './turn-store.ts';

export interface TurnListsWorld {
  readonly store: TurnStore;
  readonly lists: TurnLists;
  conversation(): Promise<string>;
  unknownId(): string;
}

export function turnListsContract(open: () => Promise<TurnListsWorld>): void {
  let world: TurnListsWorld;
  let { store, lists } = {} as TurnListsWorld;
  beforeAll(async () => {
    world = await open();
    ({ store, lists } = world);
  });

  const create = async (conversationId: string, text = 'hello', more: Partial<NewTurn> = {}) => {
    const turn = { conversationId, text, policy: 'default', onBusy: 'enqueue' as const, ...more };
    return (await store.create(turn)).turn;
  };
  const claim = async (turn: { id: string; conversationId: string }): Promise<Fence> => {
    const claimed = await store.claim(turn, 'one');
    if (claimed.kind !== 'claimed') throw new Error(`not claimed: ${claimed.kind}`);
    return { turnId: turn.id, epoch: claimed.turn.run.epoch };
  };
  const sequences = ({ messages }: MessagePage) => messages.map(({ sequence }) => sequence);

  describe('pages of a conversation', () => {
    it('begin with the newest, and say what lies next to them', async () => {
      const id = await world.conversation();
      for (const text of ['one', 'two', 'three']) await create(id, text);
      const page = await lists.messages(id, { limit: 4 });
      expect([sequences(page), page.before, page.after]).toEqual([[3, 4, 5, 6], 3, undefined]);
      const oldest = await lists.messages(id, { before: 3, limit: 4 });
      expect([sequences(oldest), oldest.before, oldest.after]).toEqual([[1, 2], undefined, 2]);
      const next = await lists.messages(id, { after: 2, limit: 3 });
      expect([sequences(next), next.before, next.after]).toEqual([[3, 4, 5], 3, 5]);
      const last = await lists.messages(id, { after: 5, limit: 3 });
      expect([sequences(last), last.before, last.after]).toEqual([[6], 6, undefined]);
    });

    it('are empty where nothing is, and lead back', async () => {
      const id = await world.conversation();
      expect(await lists.messages(id, { limit: 5 })).toEqual({ messages: [] });
      await create(id);
      expect(await lists.messages(id, { after: 2, limit: 5 })).toEqual({ messages: [], before: 3 });
      expect(await lists.messages(id, { after: Number.MAX_SAFE_INTEGER, limit: 5 })).toMatchObject({
        messages: [],
        before: Number.MAX_SAFE_INTEGER,
      });
      expect(await lists.messages(id, { before: 1, limit: 5 })).toEqual({ messages: [], after: 0 });
      expect(await lists.messages(id, { before: 0, limit: 5 })).toEqual({ messages: [], after: 0 });
    });

    it('are refused for a conversation of which nothing is stored', async () => {
      const id = world.unknownId();
      await expect(lists.messages(id, { limit: 5 })).rejects.toThrow(NotFoundError);
      await expect(lists.messages(id, { after: 7, limit: 5 })).rejects.toThrow(NotFoundError);
    });

    it('show what a list needs of a message, and nothing else', async () => {
      const id = await world.conversation();
      const messageId = store.newMessageId();
      const file = {
        fileId: world.unknownId(),
        filename: 'a.csv',
        contentType: 'text/csv',
        bytes: 3,
        sha256: 'abc',
        metadata: { source: 'upload' },
      };
      const turn = await create(id, 'Grüße', { policy: 'trips', uploads: { messageId, files: [file] } });
      const common = { turnId: turn.id, policy: 'trips', createdAt: expect.any(Number) };
      const user = { ...common, id: messageId, role: 'user', sequence: 1, text: 'Grüße', files: [file] };
      const reply = { ...common, id: turn.id, role: 'assistant', sequence: 2, text: '', files: [] };
      const read = async () => (await lists.messages(id, { limit: 9 })).messages;
      expect(await read()).toEqual([user, { ...reply, status: 'pending', progress: 'queued' }]);
      const fence = await claim(turn);
      const parts = [{ id: 'p', messageId: 'm', source: 'wire', type: 'text', text: 'so far' }] as const;
      const run = { phase: 'prompted' } as const;
      await store.write(fence, { run, text: 'so far', reasoning: 'hm', parts });
      expect((await read())[1]).toEqual({
        ...reply,
        status: 'pending',
        progress: 'prompted',
        text: 'so far',
      });
      const error = { reason: 'upstream_error', message: 'No.', detail: 'for operators' } as const;
      await store.finish(fence, ended('error', { text: 'the end', error, artifacts: [file] }));
      const end = { durationMs: 12, finishedAt: 1_700_000_000_000 };
      expect((await read())[1]).toEqual({
        ...reply,
        ...end,
        status: 'error',
        progress: 'finished',
        text: 'the end',
        files: [file],
        error: { reason: 'upstream_error', message: 'No.' },
      });
    });

    it('end earlier where texts are long, and miss none', async () => {
      const id = await world.conversation();
      // A question may have 1 MiB: five of them are more than one page holds.
      const long = 'x'.repeat(maxPageLength / 4 - 10);
      for (let count = 0; count < 6; count += 1) await create(id, long);
      const [forward, backward] = [await walk(id, 'after', () => 200), await walk(id, 'before', () => 200)];
      for (const pages of [forward, backward]) {
        expect(pages.length).toBeGreaterThan(1);
        expect(pages.flatMap(sequences).sort((a, b) => a - b)).toEqual(upTo(12));
      }
    });
  });

  const upTo = (count: number) => Array.from({ length: count }, (_, at) => at + 1);

  /** All pages one way, from the end where that way begins. */
  const walk = async (id: string, way: 'before' | 'after', limit: () => number): Promise<MessagePage[]> => {
    const pages: MessagePage[] = [];
    let place: number | undefined = way === 'after' ? 0 : undefined;
    do {
      const page: MessagePage = await lists.messages(id, {
        limit: limit(),
        ...(place === undefined ? {} : { [way]: place }),
      });
      pages.push(page);
      place = page[way];
    } while (place !== undefined);
    return pages;
  };

  it('any walk, with any limits, gives each message once and in order, while others are enqueued', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: 8 }),
        fc.constantFrom<'before' | 'after'>('before', 'after'),
        fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1, maxLength: 5 }),
        // Before which pages somebody enqueues.
        fc.array(fc.boolean(), { minLength: 1, maxLength: 4 }),
        async (turns, way, limits, enqueues) => {
          const id = await world.conversation();
          for (let count = 0; count < turns; count += 1) await create(id, `${count}`);
          let step = 0;
          let left = 4;
          const beside: Promise<unknown>[] = [];
          const pages = await walk(id, way, () => {
            if (enqueues[step % enqueues.length] && left-- > 0) beside.push(create(id, 'beside'));
            return limits[step++ % limits.length] as number;
          });
          await Promise.all(beside);
          const read = (way === 'before' ? pages.toReversed() : pages).flatMap(({ messages }) => messages);
          const there = read.map(({ sequence }) => sequence);
          // Those that came meanwhile may be on it or not, but no number is left out between.
          expect(there).toEqual(upTo(there.length));
          expect(there.length).toBeGreaterThanOrEqual(turns * 2);
          expect(new Set(read.map((message: ListedMessage) => message.id)).size).toBe(there.length);
          const rest = await lists.messages(id, { after: there.length, limit: 200 });
          expect(there.length + rest.messages.length).toBe(2 * (turns + beside.length));
        },
      ),
      { numRuns: 30 },
    );
  });

  it('from any place both ways meet: nothing between, nothing twice', async () => {
    const id = await world.conversation();
    for (let count = 0; count < 9; count += 1) await create(id);
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 25 }), fc.integer({ min: 1, max: 9 }), async (at, limit) => {
        const [behind, ahead] = await Promise.all([
          lists.messages(id, { after: at, limit }),
          lists.messages(id, { before: at + 1, limit }),
        ]);
        const [lower, higher] = [upTo(18).filter((n) => n <= at), upTo(18).filter((n) => n > at)];
        expect([sequences(ahead), sequences(behind)]).toEqual([lower.slice(-limit), higher.slice(0, limit)]);
        // What a page says of its other side leads to what lies there.
        if (behind.before !== undefined)
          expect(await lists.messages(id, { before: behind.before, limit })).toEqual(ahead);
        if (ahead.after !== undefined)
          expect(await lists.messages(id, { after: ahead.after, limit })).toEqual(behind);
      }),
      { numRuns: 60 },
    );
  });
}
