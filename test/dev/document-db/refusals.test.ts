/** What this server does not do is refused with MongoDB's code, whether or not there are documents to do it to. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import mongoose, { type Connection } from 'mongoose';
import { type DocumentDb, startDocumentDb } from '../../../dev/document-db/server.ts';
import { connectMongo } from '../../../src/mongodb/connection.ts';

const { Decimal128, Long, MongoServerError } = mongoose.mongo;
type Doc = Record<string, unknown>;

let server: DocumentDb;
let connection: Connection;
const docs = [
  { _id: 1, a: 1, text: 'one', list: [1, 2], items: [{ k: 1 }] },
  { _id: 2, a: 2, text: 'two', list: [3], items: [] },
];

beforeAll(async () => {
  server = await startDocumentDb();
  connection = await connectMongo(`${server.url}/refusals`);
});
afterAll(async () => {
  await connection.close();
  await server.close();
});

function db() {
  if (!connection.db) throw new Error('not connected');
  return connection.db;
}
const full = () => db().collection<{ _id: number }>('full');
beforeEach(async () => {
  await full().deleteMany({});
  await full().insertMany(docs);
});

async function refusal(command: Doc): Promise<InstanceType<typeof MongoServerError>> {
  const error = await db()
    .command(command)
    .then(
      (reply) => reply.writeErrors?.[0] ?? `answered ${JSON.stringify(reply)}`,
      (problem: unknown) => problem,
    );
  if (error instanceof MongoServerError || typeof error === 'object') return error as never;
  throw new Error(`not refused: ${String(error)}`);
}

/** Each command on a collection with documents and on one that does not exist; nothing may have changed. */
const refuses = (rows: readonly [string, number, (collection: string) => Doc][]) =>
  it.each(rows)('%s: %i', async (_what, code, command) => {
    for (const collection of ['full', 'absent'])
      expect(await refusal(command(collection))).toMatchObject({ code });
    expect(await full().find().sort({ _id: 1 }).toArray()).toEqual(docs);
  });

describe('commands and their fields', () => {
  refuses([
    ['a command that is none', 59, () => ({ noSuchCommand: 1 })],
    ['a command with the name of a property', 59, () => ({ constructor: 1 })],
    ['mapReduce', 59, (name) => ({ mapReduce: name, map: '', reduce: '' })],
    ['renameCollection', 59, () => ({ renameCollection: 'refusals.full', to: 'refusals.other' })],
    ['collMod', 59, (name) => ({ collMod: name })],
    ['bulkWrite', 59, () => ({ bulkWrite: 1, ops: [], nsInfo: [] })],
    ['collation of a find', 40415, (name) => ({ find: name, collation: { locale: 'en' } })],
    ['hint of a find', 40415, (name) => ({ find: name, hint: { a: 1 } })],
    ['tailable cursors', 40415, (name) => ({ find: name, tailable: true })],
    ['let', 40415, (name) => ({ aggregate: name, pipeline: [], cursor: {}, let: {} })],
    ['explain', 40415, (name) => ({ aggregate: name, pipeline: [], explain: true })],
    ['limit of a count', 40415, (name) => ({ count: name, limit: 1 })],
    [
      'collation of an update',
      40415,
      (name) => ({ update: name, updates: [{ q: {}, u: { $set: { a: 9 } }, collation: {} }] }),
    ],
    [
      'collation of a delete',
      40415,
      (name) => ({ delete: name, deletes: [{ q: {}, limit: 0, collation: {} }] }),
    ],
    ['a filter that is none', 14, (name) => ({ find: name, filter: 'a' })],
    ['a deletion of nothing in particular', 14, (name) => ({ delete: name, deletes: [{ limit: 0 }] })],
    ['a deletion by a word', 14, (name) => ({ delete: name, deletes: [{ q: 'all', limit: 0 }] })],
    ['a deletion of two', 9, (name) => ({ delete: name, deletes: [{ q: {}, limit: 2 }] })],
    ['a negative batch', 51024, (name) => ({ find: name, batchSize: -1 })],
    ['a negative limit', 51024, (name) => ({ find: name, limit: -1 })],
    ['a skip that is no number', 14, (name) => ({ find: name, skip: 'one' })],
    ['a sort that is no direction', 2, (name) => ({ find: name, sort: { a: 'up' } })],
    ['a write of nothing', 16, (name) => ({ insert: name, documents: [] })],
    ['a collection without a name', 73, () => ({ insert: '', documents: [{}] })],
    ['a collection with a number for a name', 73, () => ({ find: 7 })],
    [
      'removing with an update',
      9,
      (name) => ({ findAndModify: name, remove: true, update: { $set: { a: 1 } } }),
    ],
    ['modifying without an update', 9, (name) => ({ findAndModify: name, query: {} })],
    ['an _id that is a list', 2, () => ({ insert: 'full', documents: [{ _id: [1] }] })],
    [
      'a document beyond 16 MB',
      10334,
      () => ({ insert: 'full', documents: [{ x: 'x'.repeat(16 * 1024 * 1024) }] }),
    ],
  ]);
});

describe('transactions and sessions', () => {
  it('a transaction fails at its first operation', async () => {
    const session = await connection.startSession();
    session.startTransaction();
    await expect(full().find({}, { session }).toArray()).rejects.toMatchObject({ code: 20 });
    await session.endSession();
  });

  refuses([
    [
      'a number of a transaction',
      20,
      (name) => ({ insert: name, documents: [{}], txnNumber: Long.fromNumber(1) }),
    ],
    ['the end of one', 20, () => ({ commitTransaction: 1, autocommit: false })],
    ['a read of a snapshot', 123, (name) => ({ find: name, readConcern: { level: 'snapshot' } })],
    ['a linearizable read', 123, (name) => ({ find: name, readConcern: { level: 'linearizable' } })],
    [
      'a write to several nodes',
      2,
      (name) => ({ insert: name, documents: [{ _id: 9 }], writeConcern: { w: 2 } }),
    ],
    [
      'a change stream',
      40573,
      (name) => ({ aggregate: name, pipeline: [{ $changeStream: {} }], cursor: {} }),
    ],
  ]);

  it('sessions, majorities and comments make no difference', async () => {
    const session = await connection.startSession();
    const options = { session, comment: 'why', readConcern: { level: 'majority' as const }, maxTimeMS: 100 };
    expect(await full().find({}, options).toArray()).toHaveLength(2);
    expect(await full().insertOne({ _id: 3 }, { writeConcern: { w: 'majority', j: true } })).toMatchObject({
      insertedId: 3,
    });
    await session.endSession();
  });
});

describe('queries', () => {
  const find = (filter: Doc) => (name: string) => ({ find: name, filter });
  refuses([
    ['an operator that is none', 2, find({ a: { $noSuch: 1 } })],
    ['one beside an operator', 2, find({ a: { $gt: 1, b: 2 } })],
    ['one inside $not', 2, find({ a: { $not: { $noSuch: 1 } } })],
    ['one inside $elemMatch', 2, find({ items: { $elemMatch: { k: { $noSuch: 1 } } } })],
    ['one inside $and inside $or', 2, find({ $or: [{ a: 1 }, { $and: [{ a: { $noSuch: 1 } }] }] })],
    ['$where', 2, find({ $where: 'true' })],
    ['$expr', 2, find({ $expr: { $eq: ['$a', 1] } })],
    ['$text', 2, find({ $text: { $search: 'one' } })],
    ['$jsonSchema', 2, find({ $jsonSchema: {} })],
    ['$near', 2, find({ a: { $near: [1, 2] } })],
    ['$mod', 2, find({ a: { $mod: [2, 0] } })],
    ['$and of nothing', 2, find({ $and: [] })],
    ['$or of a document', 2, find({ $or: { a: 1 } })],
    ['$or of words', 2, find({ $or: ['a'] })],
    ['$in of a word', 2, find({ a: { $in: 'a' } })],
    ['$in of operators', 2, find({ a: { $in: [{ $gt: 1 }] } })],
    ['$not of a value', 2, find({ a: { $not: 1 } })],
    ['$ne of a regex', 2, find({ text: { $ne: /o/ } })],
    ['$size of a word', 2, find({ list: { $size: 'two' } })],
    ['$type of no type', 2, find({ a: { $type: 'integer' } })],
    ['$elemMatch of a value', 2, find({ list: { $elemMatch: 1 } })],
    ['$options of nothing', 2, find({ text: { $options: 'i' } })],
    ['a regex that is none', 51091, find({ text: { $regex: '(' } })],
    ['a regex with PCRE syntax', 51091, find({ text: { $regex: '\\Aone' } })],
    ['a regex with unknown options', 51108, find({ text: { $regex: 'o', $options: 'q' } })],
    [
      'a filter of countDocuments',
      2,
      (name) => ({ aggregate: name, pipeline: [{ $match: { a: { $noSuch: 1 } } }], cursor: {} }),
    ],
    ['a filter of distinct', 2, (name) => ({ distinct: name, key: 'a', query: { a: { $noSuch: 1 } } })],
    ['a filter of count', 2, (name) => ({ count: name, query: { $noSuch: 1 } })],
    [
      'a filter of a deletion',
      2,
      (name) => ({ delete: name, deletes: [{ q: { a: { $noSuch: 1 } }, limit: 0 }] }),
    ],
    [
      'a filter of an update',
      2,
      (name) => ({ update: name, updates: [{ q: { a: { $noSuch: 1 } }, u: { $set: { a: 1 } } }] }),
    ],
    ['a filter of listCollections', 2, () => ({ listCollections: 1, filter: { name: { $noSuch: 1 } } })],
  ]);

  it('tell a regex as a pattern from a regex as a value', async () => {
    const names = async (filter: Doc) => (await full().find(filter).toArray()).map(({ _id }) => _id);
    expect(await names({ text: /^O/i })).toEqual([1]);
    expect(await names({ text: { $in: [/e$/] } })).toEqual([1]);
    expect(await names({ text: { $eq: /^o/ } })).toEqual([]);
    expect(await names({ text: { $regex: 'n.$', $options: 's' } })).toEqual([1]);
    // The driver sends "s" for what JavaScript calls "g", whose state would find every second one here.
    await full().insertMany([3, 4, 5].map((_id) => ({ _id, text: 'a\nb' }) as never));
    expect(await names({ text: /a.b/g })).toEqual([3, 4, 5]);
  });
});

describe('projections', () => {
  const show = (projection: Doc) => (name: string) => ({ find: name, projection });
  refuses([
    ['an expression', 2, show({ b: '$a' })],
    ['$slice', 2, show({ list: { $slice: 1 } })],
    ['$elemMatch', 2, show({ items: { $elemMatch: { k: 1 } } })],
    ['the matched element', 2, show({ 'items.$': 1 })],
    ['both ways at once', 31254, show({ a: 1, text: 0 })],
    ['a path and a part of it', 31249, show({ items: 1, 'items.k': 1 })],
    ['a field without a name', 40352, show({ 'items.': 1 })],
    [
      'of findAndModify',
      2,
      (name) => ({ findAndModify: name, query: { a: 1 }, update: { $set: { a: 9 } }, fields: { a: '$b' } }),
    ],
  ]);
});

describe('updates', () => {
  const update =
    (u: unknown, more: Doc = {}) =>
    (name: string) => ({
      update: name,
      updates: [{ q: { _id: { $gte: 1 } }, u, ...more }],
    });
  refuses([
    ['a modifier that is none', 9, update({ $noSuch: { a: 1 } })],
    ['$pop, which is not here', 9, update({ $pop: { list: 1 } })],
    ['a modifier of no field', 9, update({ $set: 'a' })],
    ['a pipeline', 2, update([{ $set: { a: 9 } }])],
    ['no update', 9, update('a')],
    ['a replacement of many', 9, update({ a: 9 }, { multi: true })],
    ['two changes of one field', 40, update({ $set: { a: 9 }, $inc: { a: 1 } })],
    ['a change of a field and of a part of it', 40, update({ $set: { 'b.c': 1 }, $unset: { b: 1 } })],
    ['a rename onto a changed field', 40, update({ $set: { a: 9 }, $rename: { text: 'a' } })],
    ['an empty path', 56, update({ $set: { 'a..b': 1 } })],
    ['a dollar in a path', 52, update({ $set: { 'a.$b': 1 } })],
    ['an increment by a word', 14, update({ $inc: { a: 'one' } })],
    ['an increment by a decimal', 2, update({ $inc: { a: Decimal128.fromString('1') } })],
    ['$push with an unknown clause', 2, update({ $push: { list: { $each: [1], $noSuch: 1 } } })],
    ['$push of $each word', 2, update({ $push: { list: { $each: 'a' } } })],
    ['$push with a sort that is none', 2, update({ $push: { list: { $each: [], $sort: 'up' } } })],
    ['$push with a slice that is none', 2, update({ $push: { list: { $each: [], $slice: 'all' } } })],
    ['$addToSet of $each word', 14, update({ $addToSet: { list: { $each: 'a' } } })],
    ['$addToSet with a slice', 2, update({ $addToSet: { list: { $each: [1], $slice: 1 } } })],
    ['$pull by an operator that is none', 2, update({ $pull: { list: { $noSuch: 1 } } })],
    ['$currentDate as a timestamp', 2, update({ $currentDate: { at: { $type: 'timestamp' } } })],
    ['$rename into a document', 2, update({ $rename: { a: 'b.c' } })],
    ['$rename to itself', 2, update({ $rename: { a: 'a' } })],
    ['an array filter that nobody uses', 9, update({ $set: { a: 9 } }, { arrayFilters: [{ x: 1 }] })],
    ['an element that no filter chooses', 2, update({ $set: { 'list.$[x]': 9 } })],
    ['array filters that are none', 14, update({ $set: { 'list.$[x]': 9 } }, { arrayFilters: 'x' })],
  ]);

  it.each([
    ['of a text', { $inc: { text: 1 } }, 14],
    ['into a number', { $set: { 'a.b': 1 } }, 28],
    ['into a list by name', { $set: { 'list.b': 1 } }, 28],
    ['of no list', { $push: { a: 1 } }, 2],
    ['of no list, as a set', { $addToSet: { a: 1 } }, 2],
    ['of every element of none', { $set: { 'a.$[]': 1 } }, 2],
    ['of an element that nobody asked for', { $set: { 'list.$': 1 } }, 2],
    ['of the id', { $set: { _id: 9 } }, 66],
    ['of the id by replacement', { _id: 9 }, 66],
  ])('that do not fit the document, %s, leave it as it was', async (_what, u, code) => {
    const reply = await db().command({ update: 'full', updates: [{ q: { _id: 1 }, u }] });
    expect(reply).toMatchObject({ n: 0, nModified: 0, writeErrors: [{ index: 0, code }] });
    expect(await full().find().sort({ _id: 1 }).toArray()).toEqual(docs);
  });

  it.each([
    ['two demands on one field', { b: 1, $and: [{ b: 2 }] }, { $set: { c: 1 } }, 54],
    ['an id that is not the one asked for', { _id: 7 }, { $set: { _id: 8 } }, 66],
  ])('an upsert with %s makes nothing', async (_what, q, u, code) => {
    expect(await refusal({ update: 'full', updates: [{ q, u, upsert: true }] })).toMatchObject({ code });
    expect(await full().countDocuments()).toBe(2);
  });
});

describe('pipelines', () => {
  const run =
    (...pipeline: unknown[]) =>
    (name: string) => ({ aggregate: name, pipeline, cursor: {} });
  refuses([
    ['a stage that is none', 40324, run({ $noSuch: {} })],
    ['$lookup', 40324, run({ $lookup: { from: 'full', localField: 'a', foreignField: 'a', as: 'b' } })],
    ['$out, which would write', 40324, run({ $out: 'other' })],
    ['two stages in one', 40323, run({ $match: {}, $limit: 1 })],
    ['no stage', 14, run('a')],
    ['$limit of nothing', 15958, run({ $limit: 0 })],
    ['$skip backwards', 51024, run({ $skip: -1 })],
    ['$project of nothing', 51272, run({ $project: {} })],
    ['$project of an expression', 2, run({ $project: { b: { $add: ['$a', 1] } } })],
    ['$count without a name', 40156, run({ $count: '' })],
    ['$group without an _id', 15955, run({ $group: { n: { $sum: 1 } } })],
    ['$group by an expression', 40324, run({ $group: { _id: { $year: '$at' } } })],
    ['$group with an average', 40324, run({ $group: { _id: null, n: { $avg: '$a' } } })],
    ['the whole database', 73, () => ({ aggregate: 1, pipeline: [{ $match: {} }], cursor: {} })],
    ['no cursor', 9, (name) => ({ aggregate: name, pipeline: [] })],
  ]);

  it('$sum does not overlook a number that it cannot add', async () => {
    await full().insertOne({ _id: 3, a: Decimal128.fromString('1.5') } as never);
    expect(await refusal(run({ $group: { _id: null, n: { $sum: '$a' } } })('full'))).toMatchObject({
      code: 2,
    });
    expect(
      await full()
        .aggregate([{ $match: { _id: { $lt: 3 } } }, { $group: { _id: null, n: { $sum: '$a' } } }])
        .toArray(),
    ).toEqual([{ _id: null, n: 3 }]);
  });
});

describe('indexes and collections', () => {
  const index = (spec: Doc) => (name: string) => ({
    createIndexes: name,
    indexes: [{ name: 'x', key: { a: 1 }, ...spec }],
  });
  refuses([
    ['a text index', 67, index({ key: { text: 'text' } })],
    ['a hashed index', 67, index({ key: { a: 'hashed' } })],
    ['a geo index', 67, index({ key: { a: '2dsphere' } })],
    ['a wildcard index', 67, index({ key: { '$**': 1 } })],
    ['an index that expires documents', 67, index({ expireAfterSeconds: 1 })],
    ['an index with a collation', 67, index({ unique: true, collation: { locale: 'en', strength: 2 } })],
    ['a hidden index', 67, index({ hidden: true })],
    ['an index of nothing', 67, index({ key: {} })],
    ['a uniqueness that is a word', 14, index({ unique: 'yes' })],
    ['a partial index by a word', 14, index({ partialFilterExpression: 'a' })],
    [
      'a partial index by what is not there',
      67,
      index({ partialFilterExpression: { a: { $exists: false } } }),
    ],
    ['a partial index by $ne', 67, index({ partialFilterExpression: { a: { $ne: 1 } } })],
    ['a partial index that is sparse', 67, index({ sparse: true, partialFilterExpression: { a: 1 } })],
    ['no index', 2, (name) => ({ createIndexes: name, indexes: [] })],
    ['a list that is none', 14, (name) => ({ createIndexes: name, indexes: 'a' })],
    ['a capped collection', 40415, () => ({ create: 'new', capped: true, size: 1000 })],
    ['a time series', 40415, () => ({ create: 'new', timeseries: { timeField: 't' } })],
    ['a view', 40415, () => ({ create: 'new', viewOn: 'full', pipeline: [] })],
    ['a validator', 40415, () => ({ create: 'new', validator: { a: 1 } })],
  ]);

  it('leave nothing behind that a refused command would have made', async () => {
    expect((await db().listCollections().toArray()).map(({ name }) => name).sort()).toEqual([
      'absent',
      'full',
    ]);
    expect(await full().indexes()).toHaveLength(1);
  });

  it('a uniqueness of 1 is one', async () => {
    await db().command(index({ unique: 1 })('full'));
    await expect(full().insertOne({ _id: 3, a: 1 } as never)).rejects.toMatchObject({ code: 11000 });
    await full().dropIndex('x');
  });
});

describe('a duplicate key', () => {
  const keys = { keyPattern: { a: 1, text: 1 }, keyValue: { a: 1, text: 'one' } };
  const errmsg =
    'E11000 duplicate key error collection: refusals.full index: pair dup key: { a: 1, text: "one" }';
  beforeAll(() => full().createIndex({ a: 1, text: 1 }, { name: 'pair', unique: true }));
  afterAll(() => full().dropIndex('pair'));

  it('of a batch stands under the number of its statement', async () => {
    const documents = [
      { _id: 3, a: 3 },
      { _id: 4, a: 1, text: 'one' },
    ];
    const reply = await db().command({ insert: 'full', documents });
    expect(reply).toEqual({ n: 1, writeErrors: [{ index: 1, code: 11000, errmsg, ...keys }], ok: 1 });
  });

  it('of findAndModify is the reply', async () => {
    const error = await refusal({
      findAndModify: 'full',
      query: { _id: 2 },
      update: { $set: { a: 1, text: 'one' } },
    });
    expect(error).toMatchObject({ code: 11000, codeName: 'DuplicateKey', errmsg, ...keys });
  });
});
