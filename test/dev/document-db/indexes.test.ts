import '../../support/fuzz-seed.ts';
import { expect, it } from '@jest/globals';
import fc from 'fast-check';
import { Collection } from '../../../dev/document-db/collection.ts';
import { parseIndexSpec } from '../../../dev/document-db/collection-index.ts';
import { CommandError } from '../../../dev/document-db/errors.ts';
import { compareBy } from '../../../dev/document-db/sort.ts';
import type { Doc } from '../../../dev/document-db/values.ts';

/** Plain objects, as a reader of BSON makes them. */
const record = <T>(shape: { [K in keyof T]: fc.Arbitrary<T[K]> }) =>
  fc.record<T>(shape, { noNullPrototype: true });

/** Few values and few fields: what matters are the meetings of null, missing, lists and documents. */
const scalar = fc.constantFrom<unknown>(null, 0, 1, 2, 'x', true, new Date(1));
const inner = fc.dictionary(fc.constantFrom('c', 'd'), scalar, { maxKeys: 2, noNullPrototype: true });
const value = fc.oneof(
  scalar,
  inner,
  fc.array(fc.oneof(scalar, inner, fc.array(scalar, { maxLength: 1 })), { maxLength: 2 }),
);
const doc = fc.dictionary(fc.constantFrom('a', 'b'), value, { maxKeys: 2, noNullPrototype: true });

const path = fc.constantFrom('a', 'b', 'a.c', 'b.d', 'a.0', '_id');
const condition = fc.oneof(
  { weight: 4, arbitrary: value },
  record({ $eq: value }),
  record({ $eq: scalar, $ne: scalar }),
  record({ $in: fc.array(scalar, { maxLength: 2 }) }),
  record({ $gte: scalar, $lt: scalar }),
  record({ $exists: fc.boolean() }),
  record({ $not: record({ $eq: scalar }) }),
);
const filter: fc.Arbitrary<Doc> = fc.oneof(
  { weight: 4, arbitrary: fc.dictionary(path, condition, { maxKeys: 3, noNullPrototype: true }) },
  record({
    $and: fc.array(fc.dictionary(path, condition, { minKeys: 1, maxKeys: 2, noNullPrototype: true }), {
      minLength: 1,
      maxLength: 2,
    }),
  }),
);

const key = fc.uniqueArray(fc.constantFrom('a', 'b', 'a.c', 'b.d'), { minLength: 1, maxLength: 2 });
const partial = fc.dictionary(
  fc.constantFrom('a', 'b', 'a.c'),
  fc.oneof(
    scalar,
    record({ $exists: fc.constant(true) }),
    record({ $gt: scalar }),
    record({ $gte: scalar, $lte: scalar }),
    record({ $type: fc.constantFrom('null', 'string', 'int', 'array') }),
  ),
  { minKeys: 1, maxKeys: 2, noNullPrototype: true },
);
const index = fc.oneof(
  record({ key }),
  record({ key, sparse: fc.constant(true) }),
  record({ key, partialFilterExpression: partial }),
);

/** Whether the collection took it; lists in two fields of one index are refused. */
function attempt(act: () => void): boolean {
  try {
    act();
    return true;
  } catch (error) {
    if (error instanceof CommandError) return false;
    throw error;
  }
}

const ids = (collection: Collection, by: Doc) => collection.find(by).map(({ _id }) => _id);
const addIndexes = (collection: Collection, specs: readonly { key: string[] }[]) => {
  for (const [at, { key: fields, ...options }] of specs.entries()) {
    const spec = { ...options, name: `i${at}`, key: Object.fromEntries(fields.map((field) => [field, 1])) };
    attempt(() => collection.createIndex(parseIndexSpec(spec)));
  }
};

it('a query finds the same documents with indexes and without, also after changes', () => {
  const changes = fc.array(record({ at: fc.nat(5), doc: fc.option(doc) }), { maxLength: 3 });
  fc.assert(
    fc.property(
      fc.array(doc, { maxLength: 6 }),
      fc.array(index, { minLength: 1, maxLength: 3 }),
      changes,
      fc.array(filter, { minLength: 1, maxLength: 4 }),
      (docs, specs, later, filters) => {
        const [plain, indexed] = [new Collection('db.plain'), new Collection('db.indexed')];
        addIndexes(indexed, specs);
        for (const [_id, one] of docs.entries())
          if (attempt(() => indexed.insert({ _id, ...one }))) plain.insert({ _id, ...one });
        for (const { at, doc: update } of later) {
          const change = (collection: Collection) =>
            update ? collection.update({ filter: { _id: at }, update }) : collection.delete({ _id: at }, 1);
          if (attempt(() => change(indexed))) change(plain);
        }
        for (const one of filters) expect(ids(indexed, one).sort()).toEqual(ids(plain, one).sort());
      },
    ),
    { numRuns: 1_500 },
  );
});

it('a unique index refuses exactly what a look at all documents would refuse', () => {
  const fields = fc.dictionary(
    fc.constantFrom('a', 'b'),
    fc.oneof(scalar, fc.array(scalar, { maxLength: 2 })),
    { maxKeys: 2, noNullPrototype: true },
  );
  const keysOf = ({ a }: Doc): unknown[] => (Array.isArray(a) ? (a.length === 0 ? [null] : a) : [a ?? null]);
  fc.assert(
    fc.property(fc.array(fields, { maxLength: 8 }), (docs) => {
      const collection = new Collection('db.unique');
      collection.createIndex(parseIndexSpec({ key: { a: 1 }, name: 'a', unique: true }));
      const taken = new Set<string>();
      for (const one of docs) {
        const keys = keysOf(one).map((item) => JSON.stringify(item));
        const free = keys.every((text) => !taken.has(text));
        expect(attempt(() => collection.insert(one))).toBe(free);
        if (free) for (const text of keys) taken.add(text);
      }
    }),
    { numRuns: 500 },
  );
});

it('a partial index is not asked for documents that it does not hold', () => {
  const collection = new Collection('db.partial');
  const spec = { key: { a: 1 }, name: 'p', partialFilterExpression: { a: { $exists: true } } };
  collection.createIndex(parseIndexSpec(spec));
  collection.insert({ _id: 1 });
  collection.insert({ _id: 2, a: null });
  expect(ids(collection, { a: null })).toEqual([1, 2]);
});

it('a limited query in an order finds the first documents of that order, with indexes and without, also after changes', () => {
  const plainValue = fc.constantFrom<unknown>(
    null,
    -1.5,
    0,
    1,
    2,
    10,
    'x',
    'x\u0000',
    'é',
    true,
    new Date(1),
    new Date(9),
  );
  const mostlyPlain = fc.oneof({ weight: 9, arbitrary: plainValue }, { weight: 1, arbitrary: value });
  const flat = fc.dictionary(fc.constantFrom('a', 'b', 'c'), mostlyPlain, { noNullPrototype: true });
  const bounds = fc.oneof(
    plainValue,
    record({ $lt: plainValue }),
    record({ $gt: plainValue }),
    record({ $gte: plainValue, $lt: plainValue }),
    record({ $gt: plainValue, $lte: plainValue }),
  );
  const field = fc.constantFrom('a', 'b', 'c');
  const direction = fc.constantFrom(1, -1);
  const order = fc
    .uniqueArray(field, { minLength: 1 })
    .chain((fields) => fc.tuple(...fields.map((name) => fc.tuple(fc.constant(name), direction))))
    .map((entries) => Object.fromEntries(entries));
  const changed = record({ at: fc.nat(9), doc: fc.option(flat) });
  fc.assert(
    fc.property(
      fc.array(flat, { maxLength: 12 }),
      fc.array(order, { minLength: 1, maxLength: 3 }),
      fc.array(changed, { maxLength: 3 }),
      fc.dictionary(field, bounds, { maxKeys: 2, noNullPrototype: true }),
      order,
      fc.integer({ min: 0, max: 5 }),
      (docs, keys, later, by, sort, limit) => {
        const [plain, indexed] = [new Collection('db.plain'), new Collection('db.indexed')];
        for (const [at, spec] of keys.entries())
          attempt(() => indexed.createIndex(parseIndexSpec({ key: spec, name: `i${at}` })));
        for (const [_id, one] of docs.entries())
          if (attempt(() => indexed.insert({ _id, ...one }))) plain.insert({ _id, ...one });
        for (const { at, doc: update } of later) {
          const change = (collection: Collection) =>
            update ? collection.update({ filter: { _id: at }, update }) : collection.delete({ _id: at }, 1);
          if (attempt(() => change(indexed))) change(plain);
        }
        const compare = compareBy(sort);
        const expected = plain.find(by, sort, limit);
        const found = indexed.find(by, sort, limit);
        expect(found.length).toBe(expected.length);
        // Which of two equal ones comes first nobody says.
        for (const [at, one] of found.entries()) expect(compare(one, expected[at])).toBe(0);
        expect(new Set(found.map(({ _id }) => _id)).size).toBe(found.length);
        for (const { _id } of found) expect(ids(plain, by)).toContain(_id);
      },
    ),
    { numRuns: 1_500 },
  );
});

it('an order that an index has is read no further than it must be', () => {
  const collection = new Collection('db.pages');
  collection.createIndex(parseIndexSpec({ key: { a: 1, n: 1 }, name: 'a_n' }));
  collection.createIndex(parseIndexSpec({ key: { rare: 1 }, name: 'rare' }));
  for (let n = 0; n < 1_000; n += 1) collection.insert({ _id: n, a: n % 2, n, rare: n === 990 });
  const page = collection.search({ a: 1, n: { $lt: 500 } }, { n: -1 }, 10);
  expect(page).toMatchObject({ index: 'a_n', examined: 10 });
  expect(page.docs.map(({ n }) => n)).toEqual([499, 497, 495, 493, 491, 489, 487, 485, 483, 481]);
  // Those in order are many, and hardly one is wanted: the few that the other index has are sorted.
  expect(collection.search({ a: 0, rare: true }, { n: 1 }, 5)).toMatchObject({ index: 'rare', examined: 1 });
  // A direction that the index has not.
  expect(collection.search({}, { a: 1, n: -1 }, 1).index).toBeUndefined();
});
