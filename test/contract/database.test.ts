/**
 * What this project needs of its database. Runs over the embedded one, and over a real server when MONGODB_URL
 * names it: every expectation here is documented behaviour of MongoDB 4.4 to 8.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import mongoose from 'mongoose';
import { startDatabase, type TestDatabase } from '../support/database.ts';

const { ObjectId, Decimal128 } = mongoose.Types;
const { Binary, GridFSBucket, MongoServerError } = mongoose.mongo;

let database: TestDatabase;
let collection: mongoose.mongo.Collection;
let count = 0;

beforeAll(async () => {
  database = await startDatabase();
});
afterAll(() => database.stop());
beforeEach(() => {
  count += 1;
  collection = db().collection(`things${count}`);
});

function db() {
  const { db: open } = database.connection;
  if (!open) throw new Error('not connected');
  return open;
}

const names = async (filter: Record<string, unknown>) =>
  (await collection.find(filter).sort({ name: 1 }).toArray()).map(({ name }) => name);

async function failure(promise: Promise<unknown>): Promise<InstanceType<typeof MongoServerError>> {
  const error = await promise.then(
    () => undefined,
    (problem: unknown) => problem,
  );
  if (error instanceof MongoServerError) return error;
  throw new Error(`expected a server error, not ${String(error)}`);
}

describe('unique indexes', () => {
  beforeEach(async () => {
    await collection.createIndex({ a: 1, b: 1 }, { unique: true, name: 'ab' });
  });

  it('refuse a second document and say which fields and values', async () => {
    await collection.insertOne({ a: 1, b: 'x' });
    const error = await failure(collection.insertOne({ a: 1, b: 'x' }));
    expect(error).toMatchObject({ code: 11000, keyPattern: { a: 1, b: 1 }, keyValue: { a: 1, b: 'x' } });
    await collection.insertOne({ a: 1, b: 'y' });
    expect(await collection.countDocuments({})).toBe(2);
  });

  it('refuse updates, and leave the document as it was', async () => {
    await collection.insertMany([
      { name: 'one', a: 1, b: 1 },
      { name: 'two', a: 2, b: 2 },
    ]);
    const change = { $set: { a: 1, b: 1, extra: true } };
    expect(await failure(collection.updateOne({ name: 'two' }, change))).toMatchObject({
      code: 11000,
      keyPattern: { a: 1, b: 1 },
    });
    const modified = await failure(collection.findOneAndUpdate({ name: 'two' }, change));
    expect(modified).toMatchObject({ code: 11000, keyPattern: { a: 1, b: 1 }, keyValue: { a: 1, b: 1 } });
    expect(await collection.findOne({ name: 'two' })).toMatchObject({ a: 2, b: 2 });
    expect(await collection.countDocuments({ extra: true })).toBe(0);
  });

  it('refuse a second document with the same _id, and keep the first one as it was', async () => {
    const _id = new ObjectId();
    await collection.insertOne({ _id, a: 1, b: 1, name: 'first' });
    const second = { _id, a: 2, b: 2, name: 'second' };
    const duplicate = { code: 11000, keyPattern: { _id: 1 }, keyValue: { _id } };
    expect(await failure(collection.insertOne(second))).toMatchObject(duplicate);
    expect(await failure(collection.insertMany([{ a: 3, b: 3 }, second]))).toMatchObject({ code: 11000 });
    const upsert = collection.updateOne({ a: 9 }, { $setOnInsert: { _id, b: 9 } }, { upsert: true });
    expect(await failure(upsert)).toMatchObject(duplicate);
    expect(await collection.find({ _id }).toArray()).toEqual([{ _id, a: 1, b: 1, name: 'first' }]);
    expect(await collection.countDocuments({})).toBe(2);
  });

  it('let an unordered batch go on behind the refused document', async () => {
    await collection.insertOne({ a: 1, b: 1 });
    const error = await failure(
      collection.insertMany(
        [
          { a: 2, b: 2 },
          { a: 1, b: 1 },
          { a: 3, b: 3 },
        ],
        { ordered: false },
      ),
    );
    expect(error.code).toBe(11000);
    expect(await collection.countDocuments({})).toBe(3);
  });

  it('end an ordered batch at the refused document', async () => {
    await collection.insertOne({ a: 1, b: 1 });
    await failure(
      collection.insertMany([
        { a: 2, b: 2 },
        { a: 1, b: 1 },
        { a: 3, b: 3 },
      ]),
    );
    expect(await collection.countDocuments({})).toBe(2);
  });

  it('count a missing field as null', async () => {
    await collection.insertOne({ a: 1 });
    expect(await failure(collection.insertOne({ a: 1, b: null }))).toMatchObject({ code: 11000 });
  });

  it('are refused over documents that break them already', async () => {
    await collection.insertMany([
      { c: 1, a: 1 },
      { c: 1, a: 2 },
    ]);
    expect(await failure(collection.createIndex({ c: 1 }, { unique: true }))).toMatchObject({ code: 11000 });
  });
});

describe('partial and sparse unique indexes', () => {
  it('hold only the documents of their filter', async () => {
    await collection.createIndex(
      { id: 1 },
      { unique: true, partialFilterExpression: { id: { $type: 'string' } } },
    );
    await collection.insertMany([{ id: null }, { id: null }, {}, {}, { id: 'x' }]);
    expect(await failure(collection.insertOne({ id: 'x' }))).toMatchObject({
      code: 11000,
      keyPattern: { id: 1 },
    });
    await collection.updateOne({ id: 'x' }, { $unset: { id: 1 } });
    await collection.insertOne({ id: 'x' });
    expect(await collection.countDocuments({ id: null })).toBe(5);
  });

  it('follow a document in and out of their filter', async () => {
    await collection.createIndex(
      { group: 1 },
      { unique: true, partialFilterExpression: { 'run.active': true } },
    );
    await collection.insertMany([
      { name: 'a', group: 1 },
      { name: 'b', group: 1 },
    ]);
    const claim = (name: string) => collection.updateOne({ name }, { $set: { 'run.active': true } });
    await claim('a');
    expect(await failure(claim('b'))).toMatchObject({ code: 11000 });
    await collection.updateOne({ name: 'a' }, { $unset: { 'run.active': 1 } });
    await claim('b');
    expect(await names({ 'run.active': true })).toEqual(['b']);
  });

  it('leave out documents without the field when sparse', async () => {
    await collection.createIndex({ key: 1 }, { unique: true, sparse: true });
    await collection.insertMany([{ name: 'a' }, { name: 'b' }, { key: 1 }]);
    expect(await failure(collection.insertOne({ key: 1 }))).toMatchObject({ code: 11000 });
  });

  it('look into arrays', async () => {
    await collection.createIndex({ tags: 1 }, { unique: true });
    await collection.insertOne({ tags: ['a', 'b', 'b'] });
    expect(await failure(collection.insertOne({ tags: ['c', 'b'] }))).toMatchObject({ code: 11000 });
  });
});

describe('index commands', () => {
  it('answer what they did, and refuse clashes with MongoDB codes', async () => {
    await collection.createIndex({ a: 1 }, { name: 'first' });
    await collection.createIndex({ a: 1 }, { name: 'first' });
    expect((await collection.indexes()).map(({ name }) => name)).toEqual(['_id_', 'first']);
    expect((await failure(collection.createIndex({ a: 1 }, { name: 'second' }))).code).toBe(85);
    expect((await failure(collection.createIndex({ b: 1 }, { name: 'first' }))).code).toBe(86);
    await collection.dropIndex('first');
    expect((await failure(collection.dropIndex('first'))).code).toBe(27);
  });

  it('say 26 for a collection that is not there', async () => {
    expect((await failure(collection.indexes())).code).toBe(26);
  });
});

describe('atomicity', () => {
  it('compare-and-set: one of a hundred wins', async () => {
    await collection.insertOne({ name: 'x', version: 0 });
    const swap = () => collection.updateOne({ name: 'x', version: 0 }, { $set: { version: 1 } });
    const results = await Promise.all(Array.from({ length: 100 }, swap));
    expect(results.filter(({ modifiedCount }) => modifiedCount === 1)).toHaveLength(1);
  });

  it('a hundred racing upserts make one document', async () => {
    await collection.createIndex({ key: 1 }, { unique: true });
    const upsert = async () => {
      const change = () => collection.findOneAndUpdate({ key: 'k' }, { $inc: { n: 1 } }, { upsert: true });
      await change().catch(change);
    };
    await Promise.all(Array.from({ length: 100 }, upsert));
    expect(await collection.find({}, { projection: { _id: 0 } }).toArray()).toEqual([{ key: 'k', n: 100 }]);
  });

  it('500 parallel increments add up', async () => {
    await collection.insertOne({ name: 'x', n: 0 });
    await Promise.all(
      Array.from({ length: 500 }, () => collection.updateOne({ name: 'x' }, { $inc: { n: 1 } })),
    );
    expect(await collection.findOne({ name: 'x' })).toMatchObject({ n: 500 });
  });

  it('findOneAndUpdate claims each document once', async () => {
    await collection.insertMany(Array.from({ length: 50 }, (_, n) => ({ n, state: 'free' })));
    const claim = () =>
      collection.findOneAndUpdate(
        { state: 'free' },
        { $set: { state: 'taken' } },
        { sort: { n: 1 }, returnDocument: 'after' },
      );
    const claimed = await Promise.all(Array.from({ length: 60 }, claim));
    const taken = claimed.flatMap((doc) => (doc ? [doc.n as number] : []));
    expect(new Set(taken).size).toBe(50);
    expect(taken).toHaveLength(50);
  });
});

describe('queries', () => {
  it('tell null, missing and present apart', async () => {
    await collection.insertMany([{ name: 'null', v: null }, { name: 'missing' }, { name: 'one', v: 1 }]);
    expect(await names({ v: null })).toEqual(['missing', 'null']);
    expect(await names({ v: { $exists: false } })).toEqual(['missing']);
    expect(await names({ v: { $ne: null } })).toEqual(['one']);
    expect(await names({ v: { $type: 'null' } })).toEqual(['null']);
  });

  it('compare within a type only', async () => {
    await collection.insertMany([
      { name: 'n', v: 5 },
      { name: 's', v: '5' },
      { name: 'd', v: new Date(5) },
    ]);
    expect(await names({ v: { $gt: 1 } })).toEqual(['n']);
    expect(await names({ v: { $lte: '9' } })).toEqual(['s']);
    expect(await names({ v: { $lt: new Date(6) } })).toEqual(['d']);
  });

  it('look through arrays and their documents', async () => {
    await collection.insertMany([
      {
        name: 'a',
        items: [
          { k: 1, s: 'x' },
          { k: 2, s: 'y' },
        ],
        list: [1, 2, 3],
      },
      { name: 'b', items: [{ k: 1, s: 'y' }], list: [9] },
    ]);
    expect(await names({ 'items.k': 1 })).toEqual(['a', 'b']);
    expect(await names({ 'items.k': 1, 'items.s': 'y' })).toEqual(['a', 'b']);
    expect(await names({ items: { $elemMatch: { k: 1, s: 'y' } } })).toEqual(['b']);
    expect(await names({ 'items.0.s': 'y' })).toEqual(['b']);
    expect(await names({ list: 2 })).toEqual(['a']);
    expect(await names({ list: { $size: 1 } })).toEqual(['b']);
    expect(await names({ list: { $all: [1, 3] } })).toEqual(['a']);
    expect(await names({ list: [9] })).toEqual(['b']);
    expect(await names({ list: { $elemMatch: { $gt: 2, $lt: 5 } } })).toEqual(['a']);
  });

  it('combine conditions', async () => {
    await collection.insertMany([1, 2, 3, 4].map((v) => ({ name: `n${v}`, v })));
    expect(await names({ $or: [{ v: 1 }, { v: { $gte: 4 } }] })).toEqual(['n1', 'n4']);
    expect(await names({ $nor: [{ v: 1 }, { v: 2 }] })).toEqual(['n3', 'n4']);
    expect(await names({ v: { $not: { $in: [1, 2] } } })).toEqual(['n3', 'n4']);
    expect(await names({ $and: [{ v: { $gt: 1 } }, { v: { $nin: [3] } }] })).toEqual(['n2', 'n4']);
    expect(await names({ name: /^N[12]$/i })).toEqual(['n1', 'n2']);
    expect(await names({ name: { $regex: '3$' } })).toEqual(['n3']);
  });

  it('keep BSON types through a round trip, and find by them', async () => {
    const doc = {
      id: new ObjectId(),
      at: new Date(1_700_000_000_123),
      bytes: new Binary(Buffer.from([0, 1, 255])),
      price: Decimal128.fromString('12.50'),
      big: 2 ** 40,
      deep: { list: [{ a$b: 1 }, null, true] },
    };
    await collection.insertOne(doc);
    const found = await collection.findOne({ id: doc.id });
    expect(found).toMatchObject({ id: doc.id, at: doc.at, big: doc.big, deep: doc.deep });
    const bytes = found?.bytes as InstanceType<typeof Binary>;
    expect(Buffer.from(bytes.value())).toEqual(Buffer.from([0, 1, 255]));
    expect(String(found?.price)).toBe('12.50');
    expect(await collection.countDocuments({ at: doc.at })).toBe(1);
    expect(await collection.countDocuments({ bytes: doc.bytes })).toBe(1);
    expect(await collection.countDocuments({ price: Decimal128.fromString('12.5') })).toBe(1);
  });

  it('sort across types, page, and project', async () => {
    await collection.insertMany(
      [{ v: 'b' }, { v: 2 }, { v: null }, {}, { v: 'a' }, { v: 1 }].map((doc, at) => ({ ...doc, at })),
    );
    const sorted = await collection.find({}).sort({ v: 1, at: 1 }).toArray();
    expect(sorted.map(({ at }) => at)).toEqual([2, 3, 5, 1, 4, 0]);
    const page = await collection
      .find({}, { projection: { _id: 0, v: 1 } })
      .sort({ v: -1 })
      .skip(1)
      .limit(2)
      .toArray();
    expect(page).toEqual([{ v: 'a' }, { v: 2 }]);
    expect(await collection.distinct('v', { v: { $type: 'string' } })).toEqual(
      expect.arrayContaining(['a', 'b']),
    );
  });

  it('give long results in batches', async () => {
    await collection.insertMany(Array.from({ length: 1_000 }, (_, n) => ({ n })));
    const seen = new Set<number>();
    for await (const { n } of collection.find({}).batchSize(7)) seen.add(n as number);
    expect(seen.size).toBe(1_000);
  });
});

describe('updates', () => {
  beforeEach(async () => {
    await collection.insertOne({
      name: 'x',
      n: 1,
      list: [1, 2, 3],
      items: [
        { id: 'a', v: 1 },
        { id: 'b', v: 2 },
        { id: 'c', v: 3 },
      ],
    });
  });

  const update = async (
    change: Record<string, unknown>,
    filter: Record<string, unknown> = {},
    options = {},
  ): Promise<Record<string, unknown>> => {
    await collection.updateOne({ name: 'x', ...filter }, change, options);
    const { _id, ...doc } = (await collection.findOne({ name: 'x' })) ?? {};
    return doc;
  };

  it('change the matched element of an array', async () => {
    const doc = await update({ $set: { 'items.$.v': 20, 'items.$.seen': true } }, { 'items.id': 'b' });
    expect(doc.items).toEqual([
      { id: 'a', v: 1 },
      { id: 'b', v: 20, seen: true },
      { id: 'c', v: 3 },
    ]);
    const open = { items: { $elemMatch: { id: 'c', seen: { $exists: false } } } };
    expect((await update({ $inc: { 'items.$.v': 1 } }, open)).items).toContainEqual({ id: 'c', v: 4 });
  });

  it('change the elements that array filters choose', async () => {
    const doc = await update(
      { $set: { 'items.$[big].v': 0 }, $inc: { 'list.$[]': 10 } },
      {},
      { arrayFilters: [{ 'big.v': { $gte: 2 } }] },
    );
    expect(doc).toMatchObject({ list: [11, 12, 13], items: [{ v: 1 }, { v: 0 }, { v: 0 }] });
  });

  it('push, pull and add to sets', async () => {
    expect((await update({ $push: { list: { $each: [5, 4], $sort: 1, $slice: -3 } } })).list).toEqual([
      3, 4, 5,
    ]);
    expect((await update({ $pull: { items: { v: { $gt: 1 } } } })).items).toEqual([{ id: 'a', v: 1 }]);
    expect((await update({ $addToSet: { list: { $each: [3, 9] } } })).list).toEqual([3, 4, 5, 9]);
    expect((await update({ $push: { fresh: 'x' } })).fresh).toEqual(['x']);
  });

  it('make nested fields, remove fields, keep extremes', async () => {
    expect(
      await update({ $set: { 'a.b.c': 1 }, $unset: { n: '' }, $max: { top: 5 }, $min: { low: 2 } }),
    ).toMatchObject({
      a: { b: { c: 1 } },
      top: 5,
      low: 2,
    });
    expect(await collection.countDocuments({ n: { $exists: true } })).toBe(0);
  });

  it('are refused with MongoDB codes when they make no sense', async () => {
    const code = async (change: Record<string, unknown>) =>
      (await failure(collection.updateOne({ name: 'x' }, change))).code;
    expect(await code({ $inc: { name: 1 } })).toBe(14);
    expect(await code({ $set: { 'n.deep': 1 } })).toBe(28);
    expect(await code({ $push: { n: 1 } })).toBe(2);
    expect(await code({ $set: { _id: 'other' } })).toBe(66);
    expect(await code({ $set: { n: 1 }, $inc: { n: 1 } })).toBe(40);
    expect(await code({ $nonsense: { n: 1 } })).toBe(9);
    expect(await collection.findOne({ name: 'x' })).toMatchObject({ n: 1 });
  });

  it('set the time of the server, also where there was nothing', async () => {
    const before = Date.now();
    const doc = await update({ $currentDate: { 'run.at': true }, $inc: { n: 1 } });
    const at = (doc.run as { at: Date }).at;
    expect(at).toBeInstanceOf(Date);
    // A server of its own may have a clock of its own; the same one does not go back.
    expect(Math.abs(at.getTime() - before)).toBeLessThan(24 * 3_600_000);
    const later = (await update({ $currentDate: { 'run.at': { $type: 'date' } } })).run as { at: Date };
    expect(later.at.getTime()).toBeGreaterThanOrEqual(at.getTime());
  });

  it('upsert from the filter and setOnInsert', async () => {
    const change = { $setOnInsert: { first: true }, $inc: { n: 1 } };
    const result = await collection.updateOne({ key: 'k', 'a.b': 2 }, change, { upsert: true });
    expect(result.upsertedCount).toBe(1);
    await collection.updateOne({ key: 'k' }, change, { upsert: true });
    expect(await collection.findOne({ key: 'k' }, { projection: { _id: 0 } })).toEqual({
      key: 'k',
      a: { b: 2 },
      first: true,
      n: 2,
    });
  });
});

describe('Mongoose', () => {
  it('finds version conflicts of saved documents', async () => {
    const schema = new mongoose.Schema({ name: String, tags: [String] }, { optimisticConcurrency: true });
    const model = database.connection.model(`Versioned${count}`, schema);
    await model.createCollection();
    await model.create({ name: 'x', tags: ['a', 'b'] });
    const [first, second] = await Promise.all([model.findOne(), model.findOne()]);
    await first?.set('name', 'y').save();
    await expect(second?.set('name', 'z').save()).rejects.toThrow(mongoose.Error.VersionError);
  });
});

describe('GridFS', () => {
  it('gives back three megabytes, whole and in ranges', async () => {
    const bucket = new GridFSBucket(db(), { bucketName: `bucket${count}` });
    const bytes = Buffer.alloc(3 * 1024 * 1024, 'abcdefghij');
    const upload = bucket.openUploadStream('big.bin', { metadata: { k: 1 } });
    await new Promise<void>((resolve, reject) =>
      upload
        .on('finish', () => resolve())
        .on('error', reject)
        .end(bytes),
    );
    const read = async (options = {}) => {
      const chunks: Buffer[] = [];
      for await (const chunk of bucket.openDownloadStream(upload.id, options)) chunks.push(chunk as Buffer);
      return Buffer.concat(chunks);
    };
    expect((await read()).equals(bytes)).toBe(true);
    expect(await read({ start: 300_000, end: 300_020 })).toEqual(bytes.subarray(300_000, 300_020));
    await bucket.delete(upload.id);
    expect(await db().collection(`bucket${count}.chunks`).countDocuments({})).toBe(0);
  });
});

it('refuses what nobody knows', async () => {
  expect((await failure(db().command({ noSuchCommand: 1 }))).code).toBe(59);
  expect((await failure(collection.find({ a: { $noSuchOperator: 1 } }).toArray())).code).toBe(2);
});
