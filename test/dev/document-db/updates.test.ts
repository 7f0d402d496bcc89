/** Update operators against a naive model of what MongoDB documents about them. */
import '../../support/fuzz-seed.ts';
import { describe, expect, it } from '@jest/globals';
import { Decimal128, Long } from 'bson';
import fc from 'fast-check';
import { Collection } from '../../../dev/document-db/collection.ts';
import { CommandError } from '../../../dev/document-db/errors.ts';
import type { Doc } from '../../../dev/document-db/values.ts';

/** Plain objects, as a reader of BSON makes them. */
const record = <T>(shape: { [K in keyof T]: fc.Arbitrary<T[K]> }) =>
  fc.record<T>(shape, { noNullPrototype: true });

const field = fc.constantFrom('a', 'b', 'n');
const number = fc.integer({ min: -3, max: 3 });
const numbers = fc.array(number, { maxLength: 3 });
const doc = fc.record(
  { a: fc.oneof(number, fc.constant('text')), n: number, list: numbers, set: numbers },
  { requiredKeys: [] },
);

const push = fc.oneof(
  number,
  fc.record(
    {
      $each: numbers,
      $position: fc.integer({ min: -3, max: 3 }),
      $slice: fc.integer({ min: -3, max: 3 }),
      $sort: fc.constantFrom(1, -1),
    },
    { requiredKeys: ['$each'], noNullPrototype: true },
  ),
);
const change = fc.oneof(
  record({ op: fc.constantFrom('$set', '$inc', '$min', '$max'), path: field, operand: number }),
  record({
    op: fc.constant('$unset'),
    path: fc.constantFrom('a', 'n', 'list', 'deep.x'),
    operand: fc.constant(''),
  }),
  record({
    op: fc.constant('$set'),
    path: fc.constantFrom('deep.x', 'list.1', 'list.5', 'n.x'),
    operand: number,
  }),
  record({
    op: fc.constant('$rename'),
    path: fc.constantFrom('a', 'n'),
    operand: fc.constantFrom('b', 'c'),
  }),
  record({ op: fc.constant('$push'), path: fc.constantFrom('list', 'a', 'fresh'), operand: push }),
  record({
    op: fc.constant('$addToSet'),
    path: fc.constantFrom('set', 'n'),
    operand: fc.oneof(number, record({ $each: numbers })),
  }),
  record({
    op: fc.constant('$pull'),
    path: fc.constantFrom('list', 'a', 'absent'),
    operand: fc.oneof(number, record({ $gte: number })),
  }),
);
interface Change {
  readonly op: string;
  readonly path: string;
  readonly operand: unknown;
}

/** As the manual words it, for flat documents and one level below; an error is its code. */
function model(before: Doc, { op, path, operand }: Change): Doc | number {
  const after = structuredClone(before);
  const [top = '', below] = path.split('.');
  const here = after[top];
  if (below !== undefined) {
    if (op === '$unset') {
      if (here !== undefined) delete (here as Doc)[below];
      return after;
    }
    if (Array.isArray(here)) {
      if (below === 'x') return 28;
      while (here.length < Number(below)) here.push(null);
      here[Number(below)] = operand;
      return after;
    }
    if (here !== undefined && typeof here !== 'object') return 28;
    after[top] = { ...(here as Doc | undefined), [below]: operand };
    return after;
  }
  const missing = here === undefined;
  if (op === '$set') after[top] = operand;
  if (op === '$unset') delete after[top];
  if (op === '$inc') {
    if (!missing && typeof here !== 'number') return 14;
    after[top] = ((here as number | undefined) ?? 0) + (operand as number);
  }
  // Every number comes before every text and list.
  if (op === '$min' && (missing || typeof here !== 'number' || (operand as number) < (here as number)))
    after[top] = operand;
  if (op === '$max' && (missing || (typeof here === 'number' && (operand as number) > here)))
    after[top] = operand;
  if (op === '$rename' && !missing) {
    delete after[top];
    delete after[operand as string];
    after[operand as string] = here;
  }
  if (op === '$pull') {
    if (missing) return after;
    if (!Array.isArray(here)) return 2;
    const from = (operand as { $gte?: number }).$gte;
    after[top] = here.filter((item) =>
      from === undefined ? item !== operand : !(item !== null && item >= from),
    );
  }
  if (op === '$push' || op === '$addToSet') {
    if (!missing && !Array.isArray(here)) return 2;
    after[top] =
      op === '$push' ? pushed((here as number[]) ?? [], operand) : joined((here as number[]) ?? [], operand);
  }
  return after;
}

interface Push {
  readonly $each: number[];
  readonly $position?: number;
  readonly $slice?: number;
  readonly $sort?: number;
}

function pushed(list: readonly (number | null)[], operand: unknown): unknown[] {
  if (typeof operand === 'number') return [...list, operand];
  const { $each, $position, $slice, $sort } = operand as Push;
  const at =
    $position === undefined
      ? list.length
      : $position < 0
        ? Math.max(0, list.length + $position)
        : Math.min($position, list.length);
  let all = [...list.slice(0, at), ...$each, ...list.slice(at)];
  // null comes before every number
  const rank = (item: number | null) => item ?? Number.NEGATIVE_INFINITY;
  if ($sort !== undefined)
    all = all.sort((x, y) => (rank(x) === rank(y) ? 0 : rank(x) < rank(y) ? -$sort : $sort));
  if ($slice === undefined) return all;
  return $slice >= 0 ? all.slice(0, $slice) : all.slice(Math.max(0, all.length + $slice));
}

function joined(list: readonly number[], operand: unknown): number[] {
  const items = typeof operand === 'number' ? [operand] : (operand as Push).$each;
  const all = [...list];
  for (const item of items) if (!all.includes(item)) all.push(item);
  return all;
}

const stored = (collection: Collection) => collection.find({ _id: 1 })[0];

it('do what the manual says, one after the other, and leave the document alone when they cannot', () => {
  fc.assert(
    fc.property(doc, fc.array(change, { maxLength: 6 }), (start, changes) => {
      const collection = new Collection('db.c');
      let expected: Doc = { _id: 1, ...start };
      collection.insert(expected);
      for (const one of changes) {
        const wanted = model(expected, one);
        let got: number | undefined;
        try {
          collection.update({ filter: { _id: 1 }, update: { [one.op]: { [one.path]: one.operand } } });
        } catch (error) {
          if (!(error instanceof CommandError)) throw error;
          got = error.code;
        }
        if (typeof wanted === 'number') expect(got).toBe(wanted);
        else expected = wanted;
        if (typeof wanted !== 'number') expect(got).toBeUndefined();
        expect(stored(collection)).toEqual(expected);
      }
    }),
    { numRuns: 2_000 },
  );
});

describe('numbers', () => {
  const sum = (value: unknown, by: unknown) => {
    const collection = new Collection('db.c');
    collection.insert({ _id: 1, n: value });
    collection.update({ filter: {}, update: { $inc: { n: by } } });
    return stored(collection)?.n;
  };

  it('stay exact where a double would round', () => {
    expect(sum(2 ** 53 - 1, 2)).toEqual(Long.fromString('9007199254740993'));
    expect(sum(Long.fromString('9007199254740993'), 1)).toEqual(Long.fromString('9007199254740994'));
    expect(sum(1, 0.5)).toBe(1.5);
    expect(sum(Long.fromString('9007199254740993'), 0.5)).toBe(2 ** 53);
  });

  it('are not wrapped around, nor guessed at', () => {
    expect(() => sum(Long.MAX_VALUE, 1)).toThrow(expect.objectContaining({ code: 2 }));
    expect(() => sum(Decimal128.fromString('1'), 1)).toThrow(expect.objectContaining({ code: 2 }));
  });
});

describe('an update', () => {
  const upsert = (filter: Doc, update: Doc) => {
    const collection = new Collection('db.c');
    const { upserted } = collection.update({ filter, update, upsert: true });
    return upserted;
  };

  it('that changes nothing is not counted, and one that only writes a number differently is', () => {
    const collection = new Collection('db.c');
    collection.insert({ _id: 1, price: Decimal128.fromString('12.5') });
    const modified = (price: string) =>
      collection.update({ filter: {}, update: { $set: { price: Decimal128.fromString(price) } } }).modified;
    expect([modified('12.5'), modified('12.50')]).toEqual([0, 1]);
    expect(String(stored(collection)?.price)).toBe('12.50');
  });

  it('starts, as an upsert, from all that the filter demands', () => {
    const made = upsert(
      {
        _id: 1,
        a: { $eq: 2 },
        $and: [{ 'b.c': 3 }, { 'b.d': 4 }],
        $or: [{ e: 5 }],
        f: { $gt: 6 },
        g: { $in: [7, 8] },
      },
      { $set: { h: 9 }, $setOnInsert: { i: 10 } },
    );
    expect(made).toEqual({ _id: 1, a: 2, b: { c: 3, d: 4 }, e: 5, h: 9, i: 10 });
    expect(upsert({ _id: 1, a: 2 }, { b: 3 })).toEqual({ _id: 1, b: 3 });
  });

  it('of a field named __proto__ changes a field, and nothing else', () => {
    const collection = new Collection('db.c');
    collection.insert({ _id: 1 });
    collection.update({ filter: {}, update: { $set: JSON.parse('{"__proto__.polluted":true}') } });
    expect(({} as Doc).polluted).toBeUndefined();
    expect(Object.keys(stored(collection) ?? {})).toEqual(['_id', '__proto__']);
    expect(collection.find({ '__proto__.polluted': true })).toHaveLength(1);
  });

  it('pulls by a pattern what the pattern finds', () => {
    const collection = new Collection('db.c');
    collection.insert({ _id: 1, list: [{ k: 1, v: 1 }, { k: 2 }, 'x'] });
    collection.update({ filter: {}, update: { $pull: { list: { k: { $in: [1] } } } } });
    expect(stored(collection)?.list).toEqual([{ k: 2 }, 'x']);
  });

  it('of many stops at the first that is refused, and keeps what was done before', () => {
    const collection = new Collection('db.c');
    for (const [_id, n] of [1, 2, 'three', 4].entries()) collection.insert({ _id, n });
    expect(() => collection.update({ filter: {}, update: { $inc: { n: 10 } }, multi: true })).toThrow(
      CommandError,
    );
    expect(collection.find({}, { _id: 1 }).map(({ n }) => n)).toEqual([11, 12, 'three', 4]);
  });
});

it('all times that one update writes are one time, however long it takes', () => {
  const collection = new Collection('db.times');
  collection.insert({ _id: 1 } as never);
  const fields = Array.from({ length: 5_000 }, (_, at) => [`time${at}`, true] as const);
  collection.update({ filter: { _id: 1 }, update: { $currentDate: Object.fromEntries(fields) } });
  const [{ _id, ...times } = {}] = collection.find({ _id: 1 });
  expect(new Set(Object.values(times).map(Number)).size).toBe(1);
});
