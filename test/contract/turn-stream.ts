/** What every followers' stream owes the turn that writes it and those who read, whatever holds it. */
import { beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { OwnershipLostError } from '../../src/errors.ts';
import type { TurnNotifier } from '../../src/ports/notifier.ts';
import type { TurnPublisher, TurnReader } from '../../src/ports/turn-stream.ts';
import type { TextPart } from '../../src/reply/part.ts';
import type { TurnEntryBody } from '../../src/turn/entry.ts';
import { beginning, type StreamPosition } from '../../src/turn/stream-position.ts';
import { eventually } from '../support/eventually.ts';

export interface StreamBounds {
  readonly maxLength?: number;
  readonly maxBytes?: number;
}

export interface TurnStreamWorld {
  stream(bounds?: StreamBounds): TurnPublisher & TurnReader;
  /** Notified with each append. */
  readonly notifier: TurnNotifier;
  /** The id of a turn that was never told. */
  newTurn(): string;
}

export const phase = { type: 'progress', progress: 'prompted' } as const;
export const delta = (offset: number, text: string): TurnEntryBody => ({
  type: 'text',
  partId: 'prt_1',
  offset,
  delta: text,
});
export const part = (text: string): TurnEntryBody => ({
  type: 'part',
  part: { type: 'text', id: 'prt_1', messageId: 'msg_1', text } as TextPart,
});
export const end = { status: 'completed', text: 'ab' } as const;

export function turnStreamContract(open: () => Promise<TurnStreamWorld>): void {
  let world: TurnStreamWorld;
  let turnId: string;
  beforeAll(async () => {
    world = await open();
  });
  beforeEach(() => {
    turnId = world.newTurn();
  });

  const by = (epoch: number) => ({ turnId, epoch });
  const batch = { count: 1_000, bytes: 1_000_000 };
  const stream = (bounds?: StreamBounds) => world.stream(bounds);
  const read = async (after: StreamPosition = beginning, most = batch) => stream().read(turnId, after, most);
  const bodies = async () => (await read()).entries.map(({ body }) => body);
  const numbers = async () => (await read()).entries.map(({ number }) => number);
  /** Everything that readers see. */
  const shown = async () => ({ ...(await read()), entries: await bodies() });
  const appended = async (...entries: readonly TurnEntryBody[]) => {
    const at = await stream().append(by(1), 'any', entries);
    if (!at) throw new Error('not appended');
    return at;
  };

  describe('entries', () => {
    it('are numbered from 1 on, and come back in order, whole', async () => {
      expect(await appended(phase, part('a'))).toMatchObject({ number: 2 });
      const at = await appended(delta(1, '世界 \u0000 👩‍🚀'));
      expect(at.number).toBe(3);
      expect(await bodies()).toEqual([phase, part('a'), delta(1, '世界 \u0000 👩‍🚀')]);
      expect(await numbers()).toEqual([1, 2, 3]);
      const one = await read({ ...at, number: 1 }, { ...batch, count: 1 });
      expect(one.entries.map(({ number, body }) => ({ number, body }))).toEqual([
        { number: 2, body: part('a') },
      ]);
      expect(await read(at)).toEqual({ known: true, last: at, entries: [], size: 0 });
    });

    it('of writers that race get every number once, and stay together as they were appended', async () => {
      const pairs = Array.from({ length: 40 }, (_, n) => [delta(n, `${n} first`), delta(n, `${n} second`)]);
      await Promise.all(pairs.map((pair) => stream().append(by(1), 'any', pair)));
      expect(await numbers()).toEqual(Array.from({ length: 80 }, (_, n) => n + 1));
      const all = await bodies();
      for (let n = 0; n < 80; n += 2) {
        const pair = pairs.find(([first]) => JSON.stringify(first) === JSON.stringify(all[n]));
        expect(all[n + 1]).toEqual(pair?.[1]);
      }
    });

    it('of a turn that was never told are none', async () => {
      expect(await read()).toEqual({ known: true, last: beginning, entries: [], size: 0 });
      expect((await read({ stream: 'f'.repeat(12), number: 1 })).known).toBe(false);
    });

    it('are told to whoever listens to that turn, and that there come no more', async () => {
      const told: string[] = [];
      const elsewhere: string[] = [];
      const other = world.notifier.listen(world.newTurn(), (change) => elsewhere.push(change));
      const off = world.notifier.listen(turnId, (change) => told.push(change));
      await eventually(async () => {
        await appended(phase);
        expect(told).toContain('grown');
      });
      expect(told).not.toContain('ended');
      await stream().end(by(1), end);
      await eventually(() => expect(told).toContain('ended'));
      // A new subscription says that anything may have been missed.
      expect(elsewhere.filter((change) => change !== 'unknown')).toEqual([]);
      for (const leave of [off, off, other]) leave();
    });
  });

  describe('what is kept', () => {
    it('is bounded in length: the oldest go, numbers stay', async () => {
      const short = stream({ maxLength: 10 });
      for (let n = 0; n < 50; n += 5)
        await short.append(
          by(1),
          'any',
          Array.from({ length: 5 }, (_, m) => delta(n + m, 'x')),
        );
      expect(await numbers()).toEqual(Array.from({ length: 10 }, (_, n) => n + 41));
      expect((await read()).last.number).toBe(50);
    });

    it('is bounded in bytes, but for the last one', async () => {
      const bounded = stream({ maxBytes: 1_000 });
      for (let n = 0; n < 20; n += 1) await bounded.append(by(1), 'any', [part('x'.repeat(200)), phase]);
      const { size, entries } = await read();
      expect([entries.length > 4, size <= 1_100]).toEqual([true, true]);
      expect((await numbers()).at(-1)).toBe(40);
      await bounded.append(by(1), 'any', [part('y'.repeat(5_000))]);
      expect(await numbers()).toEqual([41]);
      await bounded.append(by(1), 'any', [phase]);
      expect(await numbers()).toEqual([42]);
    });
  });

  describe('an older epoch', () => {
    it('writes nothing, ends nothing and opens nothing', async () => {
      await stream().append(by(2), 'any', [phase]);
      const before = await shown();
      const lost = new OwnershipLostError(turnId, 1);
      await expect(stream().append(by(1), 'any', [delta(0, 'zombie')])).rejects.toEqual(lost);
      await expect(stream().end(by(1), end)).rejects.toEqual(lost);
      await expect(stream().open(by(1))).rejects.toEqual(lost);
      expect(await shown()).toEqual(before);
    });

    it('is shut out from the moment a newer one opens, before that has anything to tell', async () => {
      await appended(phase);
      await stream().open(by(2));
      await expect(appended(delta(0, 'late'))).rejects.toBeInstanceOf(OwnershipLostError);
      expect(await bodies()).toEqual([phase]);
    });
  });

  describe('opening', () => {
    it('answers what followers have been told', async () => {
      await appended(phase, part('a'), delta(1, 'b'));
      expect(await stream().open(by(2))).toMatchObject({
        at: { number: 3 },
        view: { progress: 'prompted', parts: [{ id: 'prt_1', text: 'ab' }] },
      });
    });

    it('answers null when the beginning is no longer kept, or there never was one', async () => {
      expect((await stream().open(by(1))).view).toBeNull();
      const short = stream({ maxLength: 2 });
      await short.append(by(1), 'any', [phase, part('a'), delta(1, 'b')]);
      expect((await short.open(by(2))).view).toBeNull();
    });
  });

  describe('a place', () => {
    const none = { stream: 'f'.repeat(12), number: 1 };

    it('is written behind only while the stream stands there', async () => {
      const first = await appended(phase, part('a'));
      expect(await stream().append(by(1), first, [delta(1, 'b')])).toEqual({ ...first, number: 3 });
      const before = await shown();
      for (const place of [first, none, { ...first, number: 4 }, { ...none, number: 3 }])
        expect(await stream().append(by(1), place, [delta(2, 'c')])).toBeNull();
      expect(await shown()).toEqual(before);
    });

    it('in a stream that was begun anew is of another name, and what was there is gone', async () => {
      const first = await appended(phase, part('a'));
      const anew = await stream().append(by(1), 'anew', [part('ab')]);
      expect(anew?.number).toBe(1);
      expect(anew?.stream).not.toBe(first.stream);
      expect(await bodies()).toEqual([part('ab')]);
      expect(await read(first)).toEqual({ known: false, last: anew, entries: [], size: 0 });
    });

    it('of a reader stays good over one change of owners, up to what the new one found', async () => {
      const first = await appended(phase, part('a'));
      const { at } = await stream().open(by(2));
      expect([at.number, at.stream === first.stream]).toEqual([2, false]);
      await stream().append(by(2), at, [delta(1, 'x')]);
      const known = async (number: number) => (await read({ ...first, number })).known;
      expect([await known(1), await known(2), await known(3)]).toEqual([true, true, false]);
      expect((await read(first)).entries.map(({ number }) => number)).toEqual([3]);
    });
  });

  it('a read holds so many bytes, and one entry at least', async () => {
    const at = await appended(part('x'.repeat(5_000)), phase, phase, part('y'.repeat(5_000)), phase);
    const counts = [];
    for (let number = 0; number < 5; ) {
      const after = number === 0 ? beginning : { ...at, number };
      const { entries } = await read(after, { count: 100, bytes: 1_000 });
      counts.push(entries.length);
      number = entries.at(-1)?.number ?? 99;
    }
    expect(counts).toEqual([1, 3, 1]);
  });

  it('the end is told once: nothing comes behind it, whoever writes', async () => {
    await appended(part('ab'));
    await stream().end(by(1), end);
    const before = await shown();
    await stream().end(by(1), { status: 'error', text: '' });
    await stream().end(by(2), { status: 'error', text: '' });
    expect(await stream().append(by(2), 'any', [delta(2, 'more')])).toMatchObject({ number: 2 });
    expect(await shown()).toEqual(before);
    expect(await bodies()).toEqual([part('ab'), { type: 'finished', ...end }]);
  });
}
