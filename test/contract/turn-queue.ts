/** What every TurnQueue owes, together with the TurnStore over the same turns. */
import { beforeAll, describe, expect, it } from '@jest/globals';
import { InvalidInputError, NotFoundError, TurnBusyError } from '../../src/errors.ts';
import type { TurnQueue } from '../../src/ports/turn-queue.ts';
import type { TurnStore } from '../../src/ports/turn-store.ts';
import { ended } from './turn-store.ts';

export interface TurnQueueWorld {
  readonly queue: TurnQueue;
  readonly store: TurnStore;
  /** A conversation without turns; its id. */
  conversation(): Promise<string>;
  unknownId(): string;
}

export function turnQueueContract(open: () => Promise<TurnQueueWorld>): void {
  let world: TurnQueueWorld;
  let queue: TurnQueue;
  let store: TurnStore;
  beforeAll(async () => {
    world = await open();
    ({ queue, store } = world);
  });

  const create = async (conversationId: string, text = 'hello', onBusy: 'enqueue' | 'reject' = 'enqueue') =>
    (await store.create({ conversationId, text, policy: 'default', onBusy })).turn;
  /** A conversation with turns `a`, `b`, … that wait. */
  const waiting = async (count: number) => {
    const conversationId = await world.conversation();
    const ids: string[] = [];
    for (let at = 0; at < count; at += 1)
      ids.push((await create(conversationId, String.fromCharCode(97 + at))).id);
    return { conversationId, ids: ids as [string, string, string, string] };
  };
  const order = async (conversationId: string) =>
    (await queue.queue(conversationId)).waiting.map(({ text }) => text).join('');
  const claim = (conversationId: string, id: string) => store.claim({ conversationId, id }, 'one');
  const finish = (turnId: string) => store.finish({ turnId, epoch: 1 }, ended('completed'));
  /** Runs the head, again and again; the texts in the order in which they ran. */
  const run = async (conversationId: string) => {
    let texts = '';
    for (let head = await store.head(conversationId); head; head = await store.head(conversationId)) {
      const claimed = await claim(conversationId, head.id);
      if (claimed.kind !== 'claimed') throw new Error(`the head is ${claimed.kind}`);
      texts += claimed.turn.userText;
      await finish(head.id);
    }
    return texts;
  };

  describe('the list', () => {
    it('tells what runs and what waits, in order', async () => {
      const { conversationId, ids } = await waiting(3);
      await claim(conversationId, ids[0]);
      const listed = await queue.queue(conversationId);
      expect(listed.running).toMatchObject({ id: ids[0], text: 'a', revision: 0, waitsForPerson: false });
      expect(listed.waiting.map(({ id }) => id)).toEqual(ids.slice(1));
      expect(listed).toMatchObject({ more: 0 });
      expect(listed.hold).toBeUndefined();
    });

    it('is empty where nothing is pending, and of no conversation there is none', async () => {
      expect(await queue.queue(await world.conversation())).toEqual({ waiting: [], more: 0 });
      await expect(queue.queue(world.unknownId())).rejects.toThrow(NotFoundError);
    });
  });

  describe('a move', () => {
    it.each([
      ['first', 3, () => 'first', 'dabc'],
      ['last', 0, () => 'last', 'bcda'],
      ['before another', 3, (ids: readonly string[]) => ({ before: ids[1] }), 'adbc'],
      ['behind another', 0, (ids: readonly string[]) => ({ after: ids[2] }), 'bcad'],
      ['behind the last', 0, (ids: readonly string[]) => ({ after: ids[3] }), 'bcda'],
      ['to where it is', 1, (ids: readonly string[]) => ({ after: ids[0] }), 'abcd'],
    ] as const)(
      '%s: is listed and run there, and what is enqueued later comes behind',
      async (_, at, place, expected) => {
        const { conversationId, ids } = await waiting(4);
        expect(await queue.move(ids[at] as string, place(ids) as 'first')).toEqual({ kind: 'moved' });
        await create(conversationId, 'z');
        expect(await order(conversationId)).toBe(`${expected}z`);
        expect(await run(conversationId)).toBe(`${expected}z`);
      },
    );

    it('many times into one gap keeps the order of the moves', async () => {
      const { conversationId, ids } = await waiting(4);
      for (let times = 0; times < 9; times += 1)
        await queue.move(ids[times % 3] as string, { before: ids[3] });
      expect(await order(conversationId)).toBe('abcd');
    });

    it('behind what runs goes on when the one that runs is adopted', async () => {
      const { conversationId, ids } = await waiting(3);
      await claim(conversationId, ids[0]);
      await queue.move(ids[2], 'first');
      expect(await claim(conversationId, ids[2])).toEqual({ kind: 'behind', turnId: ids[0] });
      expect(await claim(conversationId, ids[0])).toMatchObject({ kind: 'claimed' });
      await store.finish({ turnId: ids[0], epoch: 2 }, ended('completed'));
      expect(await run(conversationId)).toBe('cb');
    });

    it('of what has started or ended says so, and so does one next to such a turn', async () => {
      const { conversationId, ids } = await waiting(3);
      await claim(conversationId, ids[0]);
      expect(await queue.move(ids[0], 'last')).toEqual({ kind: 'started', turnId: ids[0] });
      expect(await queue.move(ids[1], { after: ids[0] })).toEqual({ kind: 'started', turnId: ids[0] });
      await finish(ids[0]);
      expect(await queue.move(ids[0], 'first')).toEqual({ kind: 'finished', turnId: ids[0] });
      expect(await queue.move(ids[2], { before: ids[0] })).toEqual({ kind: 'finished', turnId: ids[0] });
      expect(await order(conversationId)).toBe('bc');
    });

    it('next to a turn of another conversation is refused', async () => {
      const [one, other] = [await waiting(2), await waiting(1)];
      await expect(queue.move(one.ids[0], { after: other.ids[0] })).rejects.toThrow(InvalidInputError);
      await expect(queue.move(world.unknownId(), 'first')).rejects.toThrow(NotFoundError);
    });

    it('leaves a conversation busy whose last turn has run ahead of the others', async () => {
      const { conversationId, ids } = await waiting(2);
      await queue.move(ids[1], 'first');
      await claim(conversationId, ids[1]);
      await finish(ids[1]);
      await expect(create(conversationId, 'x', 'reject')).rejects.toThrow(TurnBusyError);
    });
  });

  describe('an edit', () => {
    it('is what the turn asks, wherever it is read', async () => {
      const { conversationId, ids } = await waiting(2);
      expect(await queue.edit(ids[1], 'new')).toEqual({ kind: 'edited', revision: 1 });
      expect(await queue.edit(ids[1], 'newer', 1)).toEqual({ kind: 'edited', revision: 2 });
      expect(await store.get(ids[1])).toMatchObject({ userText: 'newer', revision: 2 });
      expect((await queue.queue(conversationId)).waiting[1]).toMatchObject({ text: 'newer', revision: 2 });
      expect(await run(conversationId)).toBe('anewer');
    });

    it('over another revision than its author has seen changes nothing', async () => {
      const { ids } = await waiting(1);
      await queue.edit(ids[0], 'one');
      expect(await queue.edit(ids[0], 'two', 0)).toEqual({ kind: 'revision', revision: 1 });
      expect((await store.get(ids[0]))?.userText).toBe('one');
    });

    it('of two at once over one revision: exactly one', async () => {
      const { ids } = await waiting(1);
      const results = await Promise.all(['x', 'y'].map((text) => queue.edit(ids[0], text, 0)));
      expect(results.map(({ kind }) => kind).sort()).toEqual(['edited', 'revision']);
    });

    it('of what has started or ended says so', async () => {
      const { conversationId, ids } = await waiting(1);
      await claim(conversationId, ids[0]);
      expect(await queue.edit(ids[0], 'late')).toEqual({ kind: 'started' });
      await finish(ids[0]);
      expect(await queue.edit(ids[0], 'late')).toEqual({ kind: 'finished' });
      expect((await store.get(ids[0]))?.userText).toBe('a');
    });
  });

  describe('a turn that is dropped', () => {
    it('is cancelled, and the others keep their order', async () => {
      const { conversationId, ids } = await waiting(3);
      expect(await store.drop(ids[1])).toBe('cancelled');
      expect(await store.drop(ids[1])).toBe('finished');
      expect(await run(conversationId)).toBe('ac');
    });

    it('after it has started goes on', async () => {
      const { conversationId, ids } = await waiting(1);
      await claim(conversationId, ids[0]);
      expect(await store.drop(ids[0])).toBe('started');
      expect((await store.get(ids[0]))?.run.cancelRequestedAt).toBeUndefined();
    });
  });

  describe('a hold', () => {
    it('lets nothing start, what runs go on and be adopted, and ends with its release', async () => {
      const { conversationId, ids } = await waiting(2);
      await claim(conversationId, ids[0]);
      expect(await queue.hold(conversationId, 'ann')).toEqual({ running: ids[0] });
      expect((await queue.queue(conversationId)).hold).toEqual({ at: expect.any(Number), by: 'ann' });
      expect(await claim(conversationId, ids[0])).toMatchObject({ kind: 'claimed' });
      await store.finish({ turnId: ids[0], epoch: 2 }, ended('completed'));
      expect(await claim(conversationId, ids[1])).toEqual({ kind: 'held' });
      const { id } = await create(conversationId, 'c');
      expect(await claim(conversationId, id)).toMatchObject({ kind: 'behind' });
      await queue.release(conversationId);
      await queue.release(conversationId);
      expect((await queue.queue(conversationId)).hold).toBeUndefined();
      expect(await run(conversationId)).toBe('bc');
    });

    it('of no conversation is refused', async () => {
      await expect(queue.hold(world.unknownId(), undefined)).rejects.toThrow(NotFoundError);
      await expect(queue.release(world.unknownId())).rejects.toThrow(NotFoundError);
    });
  });

  describe('a turn that is sent now', () => {
    it('goes next, and names what runs', async () => {
      const { conversationId, ids } = await waiting(4);
      await claim(conversationId, ids[0]);
      expect(await queue.sendNow(ids[3])).toEqual({ kind: 'moved', interrupts: ids[0] });
      expect(await store.cancel(ids[0], ids[3])).toBe('requested');
      expect((await store.get(ids[0]))?.run.interruptedBy).toBe(ids[3]);
      await finish(ids[0]);
      expect(await run(conversationId)).toBe('dbc');
    });

    it('where nothing runs only goes next', async () => {
      const { conversationId, ids } = await waiting(3);
      expect(await queue.sendNow(ids[2])).toEqual({ kind: 'moved' });
      expect(await queue.sendNow(ids[1])).toEqual({ kind: 'moved' });
      expect(await run(conversationId)).toBe('bca');
    });

    it('once it runs is not sent again', async () => {
      const { conversationId, ids } = await waiting(2);
      await claim(conversationId, ids[0]);
      expect(await queue.sendNow(ids[0])).toEqual({ kind: 'started', turnId: ids[0] });
    });
  });
}
