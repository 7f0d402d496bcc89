import { describe, expect, it } from '@jest/globals';
import type { Long } from 'bson';
import { Cursors } from '../../../dev/document-db/cursors.ts';
import { CommandError } from '../../../dev/document-db/errors.ts';
import { type Clock, systemClock } from '../../../src/timing/clock.ts';

interface Answer {
  readonly cursor: { id: Long; ns: string; firstBatch?: object[]; nextBatch?: object[] };
}

const docs = (count: number, from = 0) => Array.from({ length: count }, (_, n) => ({ n: n + from }));

function setUp() {
  let now = 0;
  const clock: Clock = { ...systemClock, monotonicMs: () => now };
  const cursors = new Cursors(clock);
  const open = (count: number, ...more: [number?, boolean?]) =>
    (cursors.open('db.c', docs(count), ...more) as unknown as Answer).cursor;
  const more = (id: Long, size?: number) =>
    (cursors.more(id.toBigInt(), 'db.c', size) as unknown as Answer).cursor;
  return {
    cursors,
    open,
    more,
    later: (ms: number) => {
      now += ms;
    },
  };
}

const codeOf = (act: () => unknown) => {
  try {
    act();
  } catch (error) {
    if (error instanceof CommandError) return error.code;
    throw error;
  }
  return undefined;
};

describe('a cursor', () => {
  it('gives every document once, in order, and ends by itself', () => {
    const { open, more } = setUp();
    const { id, firstBatch, ns } = open(10, 4);
    expect([firstBatch, ns]).toEqual([docs(4), 'db.c']);
    expect(more(id, 4)).toMatchObject({ nextBatch: docs(4, 4), id });
    const last = more(id, 4);
    expect([last.nextBatch, last.id.isZero()]).toEqual([docs(2, 8), true]);
    expect(codeOf(() => more(id))).toBe(43);
  });

  it('is not kept for what fits into one answer, or is wanted in one', () => {
    const { open } = setUp();
    expect(open(101).id.isZero()).toBe(true);
    expect(open(5, 5).id.isZero()).toBe(true);
    const single = open(5, 2, true);
    expect([single.firstBatch, single.id.isZero()]).toEqual([docs(2), true]);
  });

  it('starts with 101 documents, or with none where none are wanted, and goes on with all that fit', () => {
    const { open, more } = setUp();
    const usual = open(500);
    expect(usual.firstBatch).toHaveLength(101);
    expect(more(usual.id).nextBatch).toHaveLength(399);
    const empty = open(3, 0);
    expect(empty.firstBatch).toEqual([]);
    expect(more(empty.id, 0).nextBatch).toHaveLength(3);
  });

  it('cuts a batch before 16 MB, and still gives one document that is as large', () => {
    const { cursors, more } = setUp();
    const big = Array.from({ length: 3 }, (_, n) => ({ n, text: 'x'.repeat(9_000_000) }));
    const { cursor } = cursors.open('db.c', big) as unknown as Answer;
    expect(cursor.firstBatch).toHaveLength(1);
    expect(more(cursor.id).nextBatch).toHaveLength(1);
    expect(more(cursor.id).nextBatch).toHaveLength(1);
  });

  it('answers only for its own collection', () => {
    const { cursors, open, more } = setUp();
    const { id } = open(5, 2);
    expect(codeOf(() => cursors.more(id.toBigInt(), 'db.other'))).toBe(13);
    expect(more(id).nextBatch).toHaveLength(3);
  });

  it('that was killed is gone; of others it is said that they were not found', () => {
    const { cursors, open, more } = setUp();
    const [kept, killed] = [open(5, 2).id, open(5, 2).id];
    expect(cursors.kill([killed.toBigInt(), 99n])).toMatchObject({
      cursorsKilled: [killed],
      cursorsNotFound: [expect.objectContaining({ low: 99 })],
      cursorsAlive: [],
    });
    expect(codeOf(() => more(killed))).toBe(43);
    expect(more(kept).nextBatch).toHaveLength(3);
  });

  it('that nobody reads for ten minutes is forgotten; one that is read lives on', () => {
    const { open, more, later } = setUp();
    const [read, idle] = [open(9, 1).id, open(9, 1).id];
    later(9 * 60_000);
    expect(more(read, 1).nextBatch).toEqual(docs(1, 1));
    later(61_000);
    expect(codeOf(() => more(idle))).toBe(43);
    expect(more(read, 1).nextBatch).toEqual(docs(1, 2));
  });

  it('is one of at most ten thousand: the oldest goes', () => {
    const { open, more } = setUp();
    const ids = Array.from({ length: 10_001 }, () => open(2, 1).id);
    expect(codeOf(() => more(ids[0] as Long))).toBe(43);
    expect(more(ids[1] as Long).nextBatch).toHaveLength(1);
  });
});
