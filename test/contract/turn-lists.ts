/** What every TurnLists owes those who read, over a TurnStore of the same database. */
import { beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { NotFoundError } from '../../src/errors.ts';
import { maxPageLength, type TurnLists } from '../../src/ports/turn-lists.ts';
import type { Fence, NewTurn, TurnStore } from '../../src/ports/turn-store.ts';
import type { ListedMessage, ListedTurn, MessagePage, TurnQuery } from '../../src/turn/listed.ts';
import { eventually } from '../support/eventually.ts';
import { ended, question } from './turn-store.ts';

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

  describe('what a conversation waits for', () => {
    it('is what was asked and nobody has answered, by the turn that asked it', async () => {
      const id = await world.conversation();
      expect(await lists.waitingForPeople(world.unknownId())).toEqual([]);
      const turn = await create(id);
      await create(id, 'behind it');
      expect(await lists.waitingForPeople(id)).toEqual([]);
      const fence = await claim(turn);
      for (const requestId of ['que_1', 'que_2', 'que_3'])
        await store.write(fence, { request: question(requestId) });
      const open = (requestId: string) => ({ turnId: turn.id, ...question(requestId) });
      expect(await lists.waitingForPeople(id)).toEqual([open('que_1'), open('que_2'), open('que_3')]);
      await store.answer(turn.id, 'que_1', { kind: 'question', answers: [['yes']] });
      await store.write(fence, { request: question('que_2', { state: 'closed' }) });
      expect(await lists.waitingForPeople(id)).toEqual([open('que_3')]);
      // One that nobody came to close.
      await store.finish(fence, ended('cancelled'));
      expect(await lists.waitingForPeople(id)).toEqual([]);
    });
  });

  describe('turns of all conversations', () => {
    /** One policy for each test: the others' turns are there, too. */
    let policies = 0;
    const ownPolicy = () => {
      policies += 1;
      return `lists-${policies}`;
    };
    const list = async (query: Partial<TurnQuery>) => lists.turns({ limit: 200, ...query });
    const idsOf = ({ turns }: { turns: readonly ListedTurn[] }) => turns.map(({ id }) => id);
    const wait = async (fence: Fence) => store.write(fence, { request: question('que_1') });
    const failed = (reason: string) =>
      ended('error', { error: { reason, message: 'No.', detail: 'x' } as never });

    it('show what operators need of one, and no text of anybody', async () => {
      const policy = ownPolicy();
      const conversationId = await world.conversation();
      const turn = await create(conversationId, 'a secret', { policy });
      const listed = { id: turn.id, conversationId, sequence: 2, policy, createdAt: turn.createdAt };
      const run = { phase: 'queued', epoch: 0, reruns: 0, resends: 0 };
      const [queued] = (await list({ policy })).turns;
      expect(queued).toEqual({
        ...listed,
        status: 'pending',
        progress: 'queued',
        waitingForPeople: false,
        run,
      });
      const fence = await claim(turn);
      const ids = { sessionId: 'ses_1', server: 'http://one', directory: '/work' };
      const private_ = { promptMessageId: 'msg_1', promptPartId: 'prt_1', uploadNames: ['a secret'] };
      await store.write(fence, { run: { phase: 'prompted', ...ids, ...private_ }, text: 'a secret' });
      await wait(fence);
      const [asking] = (await list({ policy })).turns;
      const times = { claimedAt: expect.any(Number), startedAt: expect.any(Number) };
      const running = { phase: 'prompted', epoch: 1, owner: 'one', reruns: 0, resends: 0, ...ids, ...times };
      expect(asking).toEqual({
        ...listed,
        status: 'pending',
        progress: 'prompted',
        waitingForPeople: true,
        run: running,
      });
      await store.finish(fence, failed('run_lost'));
      const [over] = (await list({ policy })).turns;
      expect(over).toEqual({
        ...listed,
        status: 'error',
        progress: 'finished',
        waitingForPeople: false,
        run: { ...running, phase: 'finished' },
        error: { reason: 'run_lost', message: 'No.', detail: 'x' },
        durationMs: 12,
        finishedAt: 1_700_000_000_000,
      });
      expect(JSON.stringify([queued, asking, over])).not.toContain('secret');
    });

    it('are found by each condition, and by all of them together', async () => {
      const [policy, other] = [ownPolicy(), ownPolicy()];
      const one = async (what: string, itsPolicy = policy) => {
        const turn = await create(await world.conversation(), what, { policy: itsPolicy });
        if (what === 'queued') return turn.id;
        const fence = await claim(turn);
        if (what === 'waiting') await wait(fence);
        else if (what === 'completed') await store.finish(fence, ended('completed'));
        else if (what === 'cancelled')
          await store.finish(fence, { ...failed('cancel_unconfirmed'), status: 'cancelled' });
        else await store.finish(fence, failed(what));
        return turn.id;
      };
      const queued = await one('queued');
      const waiting = await one('waiting');
      const completed = await one('completed');
      const lost = await one('run_lost');
      const cancelled = await one('cancelled');
      const foreign = await one('run_lost', other);
      const foreignWaiting = await one('waiting', other);
      const newestFirst = [cancelled, lost, completed, waiting, queued];
      expect(idsOf(await list({ policy }))).toEqual(newestFirst);
      expect(idsOf(await list({ policy, status: 'pending' }))).toEqual([waiting, queued]);
      expect(idsOf(await list({ policy, status: 'completed' }))).toEqual([completed]);
      expect(idsOf(await list({ policy, reason: 'run_lost' }))).toEqual([lost]);
      expect(idsOf(await list({ policy, reason: 'cancel_unconfirmed' }))).toEqual([cancelled]);
      expect(idsOf(await list({ policy, reason: 'run_lost', status: 'cancelled' }))).toEqual([]);
      expect(idsOf(await list({ policy, waitingForPeople: true }))).toEqual([waiting]);
      const all = idsOf(await list({}));
      expect(all.filter((id) => [...newestFirst, foreign, foreignWaiting].includes(id))).toEqual([
        foreignWaiting,
        foreign,
        ...newestFirst,
      ]);
      expect(idsOf(await list({ reason: 'run_lost' })).slice(0, 2)).toEqual([foreign, lost]);
      expect(idsOf(await list({ waitingForPeople: true }))).toEqual([foreignWaiting, waiting]);
      await store.answer(waiting, 'que_1', { kind: 'question', answers: [['yes']] });
      expect(idsOf(await list({ waitingForPeople: true }))).toEqual([foreignWaiting]);
      expect((await list({ policy, status: 'pending' })).turns[0]?.waitingForPeople).toBe(false);
    });

    it('waiting for people, a turn is listed from the moment that it asks until it is answered, asked no more, or over', async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(
            fc.record({
              request: fc.constantFrom('que_1', 'que_2', 'que_3'),
              act: fc.constantFrom<'open' | 'answer' | 'answered' | 'closed' | 'adopt'>(
                'open',
                'answer',
                'answered',
                'closed',
                'adopt',
              ),
            }),
            { minLength: 1, maxLength: 8 },
          ),
          fc.boolean(),
          async (acts, ends) => {
            const policy = ownPolicy();
            const turn = await create(await world.conversation(), 'x', { policy });
            let fence = await claim(turn);
            const open = new Map<string, boolean>();
            for (const { request, act } of acts) {
              if (act === 'adopt') fence = await claim(turn);
              else if (act === 'answer') {
                if (!open.has(request)) continue;
                const given = { kind: 'question', answers: [['yes']] } as const;
                if (await store.answer(turn.id, request, given)) open.set(request, false);
              } else if (act === 'open') {
                if (open.has(request)) continue;
                await store.write(fence, { request: question(request) });
                open.set(request, true);
              } else {
                await store.write(fence, { request: question(request, { state: act }) });
                open.set(request, false);
              }
              const waits = [...open.values()].includes(true);
              const expected = waits ? [turn.id] : [];
              expect(idsOf(await list({ policy, waitingForPeople: true }))).toEqual(expected);
              expect((await list({ policy })).turns[0]?.waitingForPeople).toBe(waits);
            }
            if (!ends) return;
            await store.finish(fence, ended('cancelled'));
            expect(idsOf(await list({ policy, waitingForPeople: true }))).toEqual([]);
          },
        ),
        { numRuns: 25 },
      );
    });

    it('come page by page, each once, newest first, while others are enqueued', async () => {
      const policy = ownPolicy();
      const ids: string[] = [];
      for (let count = 0; count < 11; count += 1) {
        const turn = await create(await world.conversation(), 'x', { policy });
        ids.unshift(turn.id);
        const end = (['completed', 'cancelled', undefined] as const)[count % 3];
        if (end) await store.finish(await claim(turn), ended(end));
      }
      const conversation = await world.conversation();
      for (const limit of [1, 2, 3, 7, 11, 50]) {
        const read: string[] = [];
        let behind: TurnQuery['behind'];
        for (let isMore = true; isMore; ) {
          const page = await list({ policy, limit, ...(behind ? { behind } : {}) });
          expect(page.turns.length).toBeLessThanOrEqual(limit);
          read.push(...idsOf(page));
          behind = page.turns.at(-1);
          ({ isMore } = page);
          await create(conversation, 'beside', { policy });
        }
        expect(read.filter((id) => ids.includes(id))).toEqual(ids);
        expect(new Set(read).size).toBe(read.length);
      }
    });

    it('lie within the times that are asked for: from one on, and before the other', async () => {
      const policy = ownPolicy();
      const times: number[] = [];
      for (let count = 0; count < 4; count += 1) {
        times.push((await create(await world.conversation(), 'x', { policy })).createdAt);
        await eventually(async () => expect(Date.now()).toBeGreaterThan(times.at(-1) as number));
      }
      const [first = 0, second = 0, third = 0, last = 0] = times;
      const within = async (query: Partial<TurnQuery>) =>
        (await list({ policy, ...query })).turns.map(({ createdAt }) => createdAt);
      expect(await within({ since: second, until: last })).toEqual([third, second]);
      expect(await within({ since: last + 1 })).toEqual([]);
      expect(await within({ until: first })).toEqual([]);
      const [newest] = (await list({ policy })).turns;
      if (!newest) throw new Error('no turn');
      expect(await within({ behind: newest, since: second })).toEqual([third, second]);
      expect(await within({ behind: newest, until: third })).toEqual([second, first]);
      expect(await within({ behind: newest, until: last + 5 })).toEqual([third, second, first]);
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
