/** What is the host's: its own Mongoose, its own queries, its own names and indexes. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import mongoose, { type Connection, type Model } from 'mongoose';
import { startRedis } from '../../dev/services/redis.ts';
import type { Service } from '../../dev/services/service.ts';
import { IndexConflictError, InvalidConfigError, ServiceUnavailableError } from '../../src/errors.ts';
import { connect, opencodeSession, type Turns, type TurnsOptions } from '../../src/index.ts';
import { connectMongo } from '../../src/mongodb/connection.ts';
import { GridFsFileStore } from '../../src/mongodb/file-store.ts';
import { ensureIndexes, turnModels } from '../../src/mongodb/models.ts';
import { MongoSessionStore } from '../../src/mongodb/session-store.ts';
import { MongoTurnStore } from '../../src/mongodb/turn-store.ts';
import { startDatabase, type TestDatabase, withDatabase } from '../support/database.ts';

let database: TestDatabase;
let redis: Service;
const opened: Turns[] = [];

beforeAll(async () => {
  [database, redis] = await Promise.all([startDatabase(), startRedis(() => undefined)]);
});
afterAll(async () => {
  await Promise.all(opened.map((turns) => turns.close()));
  await redis.stop();
  await database.stop();
});

const turnsOn = async (name: string, more: Partial<TurnsOptions> = {}) => {
  const mongo = withDatabase(database.url, `${database.connection.name}_${name}`);
  const turns = await connect({
    redis: redis.url,
    mongo,
    opencode: { url: 'http://127.0.0.1:1' },
    prefix: name,
    ...more,
  });
  opened.push(turns);
  return turns;
};

describe.each(['mongoose-8', 'mongoose-9-0'])('a conversation of a host with %s', (name) => {
  let Trip: Model<never>;
  let strict: Model<never>;
  let host: typeof mongoose;
  const connections: Connection[] = [];

  beforeAll(async () => {
    host = ((await import(name)) as { default: typeof mongoose }).default;
    const modelOf = async (options: object) => {
      const own = new host.Mongoose(options);
      const connection = await own
        .createConnection(database.url, { bufferTimeoutMS: 200 } as object)
        .asPromise();
      connections.push(connection);
      const schema = new own.Schema({ title: { type: String, maxlength: 5 } });
      schema.plugin(opencodeSession);
      schema.path('opencodeSessionId').validate((id: string) => id !== 'ses_refused', 'refused');
      return connection.model(`Trip${name.replaceAll('-', '')}`, schema) as unknown as Model<never>;
    };
    Trip = await modelOf({});
    strict = await modelOf({ sanitizeFilter: true, strictQuery: 'throw' });
    await ensureIndexes([Trip]);
    await ensureIndexes([turnModels(database.connection).Message as unknown as Model<never>]);
  });
  afterAll(() => Promise.all(connections.map((connection) => connection.close())));

  const make = async (model: Model<never>) =>
    String((await (model as never as Model<object>).create({ title: 'Oslo' }))._id);
  const storeOn = (model: Model<never>) =>
    new MongoTurnStore(turnModels(database.connection).Message as never, model);

  it('has turns and a session as any other', async () => {
    expect(host.mongo).not.toBe(mongoose.mongo);
    for (const model of [Trip, strict]) {
      const store = storeOn(model);
      const sessions = new MongoSessionStore(model);
      const [conversationId, other] = [await make(model), await make(model)];
      const { turn } = await store.create({
        conversationId,
        text: 'hi',
        policy: 'default',
        onBusy: 'enqueue',
      });
      expect(await store.claim(turn, 'one')).toMatchObject({
        kind: 'claimed',
        conversation: { title: 'Oslo' },
      });
      const next = { sessionId: `ses_${conversationId}`, server: 'http://oc' };
      expect(await sessions.swap(conversationId, null, next)).toBe(true);
      expect(await sessions.swap(conversationId, null, next)).toBe(false);
      expect(await sessions.session(conversationId)).toMatchObject({ sessionId: next.sessionId });
      expect(await sessions.stored([next.sessionId, 'ses_none'])).toEqual(new Set([next.sessionId]));
      expect(await sessions.stored([])).toEqual(new Set());
      await expect(sessions.swap(other, null, next)).rejects.toMatchObject({
        code: 'conflict',
        keys: ['opencodeSessionId'],
      });
      await expect(
        sessions.swap(other, null, { sessionId: 'ses_refused', server: 'http://oc' }),
      ).rejects.toMatchObject({ code: 'invalid_input', field: 'opencodeSessionId' });
    }
  });

  it('tells its errors to be what they are, whatever their classes', async () => {
    const conversationId = await make(strict);
    const url = withDatabase(database.url, `${database.connection.name}_gone`);
    const connection = await new host.Mongoose()
      .createConnection(url, { bufferTimeoutMS: 100 } as object)
      .asPromise();
    const schema = new host.Schema({ title: String });
    schema.plugin(opencodeSession);
    const gone = connection.model('Gone', schema) as unknown as Model<never>;
    await connection.close();
    await expect(storeOn(gone).conversation(conversationId)).rejects.toBeInstanceOf(ServiceUnavailableError);
    await expect(new MongoSessionStore(gone).session(conversationId)).rejects.toBeInstanceOf(
      ServiceUnavailableError,
    );
  });
});

describe("a host's own queries", () => {
  it('are Mongoose as ever: on its own models and on ours', async () => {
    const { connection, models } = await turnsOn('queries');
    const Message = connection.model('Message', new mongoose.Schema({ createdAt: Date }), 'messages');
    const since = { createdAt: { $gt: new Date(0) } };
    await Message.create({ createdAt: new Date() });
    expect(await Message.find(since)).toHaveLength(1);
    expect(await Message.find({ ...since, unknown: 1 } as never)).toEqual([]);
    await models.Conversation.create({ title: 'one' });
    expect(await models.Conversation.find(since)).toHaveLength(1);
    expect(await models.Message.find(since)).toEqual([]);
  });

  it('end with the connections, which close as one', async () => {
    const turns = await turnsOn('closing');
    const { connection, models } = turns;
    await models.Conversation.create({ title: 'one' });
    await turns.close();
    await expect(connection.collection('x').findOne({})).rejects.toThrow();
    await expect(models.Conversation.findOne({}).exec()).rejects.toThrow();
  });
});

describe('the names of collections', () => {
  const namesIn = async ({ connection }: Turns) =>
    ((await connection.db?.listCollections().toArray()) ?? []).map(({ name }) => name).sort();

  it('are ours alone, and may be chosen', async () => {
    const ours = await turnsOn('names');
    await ours.connection.collection('messages').insertOne({ mine: true });
    await ours.createIndexes();
    expect(await namesIn(ours)).toEqual([
      'messages',
      'opencode_turns_artifacts.chunks',
      'opencode_turns_artifacts.files',
      'opencode_turns_conversations',
      'opencode_turns_messages',
    ]);
    const chosen = await turnsOn('chosen', { collectionPrefix: 'ai.' });
    await chosen.createIndexes();
    expect(await namesIn(chosen)).toEqual([
      'ai.artifacts.chunks',
      'ai.artifacts.files',
      'ai.conversations',
      'ai.messages',
    ]);
    for (const collectionPrefix of ['$x', 'system.', 'a b', 'x'.repeat(99)])
      await expect(turnsOn('refused', { collectionPrefix })).rejects.toThrow(InvalidConfigError);
  });

  it('of an earlier version are gone on with, or told of, never left behind unsaid', async () => {
    const former = await turnsOn('former', { collectionPrefix: '' });
    await former.createIndexes();
    expect(await namesIn(former)).toContain('messages');
    const now = await turnsOn('former');
    await expect(now.createIndexes()).rejects.toMatchObject({ setting: 'collectionPrefix' });
    expect(await namesIn(now)).not.toContain('opencode_turns_messages');
    await former.createIndexes();
  });
});

describe('createIndexes', () => {
  const problemOf = async (turns: Turns): Promise<IndexConflictError> => {
    const error = await turns.createIndexes().catch((problem: unknown) => problem);
    if (error instanceof IndexConflictError) return error;
    throw new Error('expected an IndexConflictError', { cause: error });
  };

  it('names the documents that a unique index cannot hold', async () => {
    const turns = await turnsOn('duplicates');
    const conversation = new mongoose.Types.ObjectId();
    const messages = turns.connection.collection('opencode_turns_messages');
    const [, ...alike] = [1, 2, 2].map((sequence) => ({
      _id: new mongoose.Types.ObjectId(),
      conversation,
      sequence,
    }));
    await messages.insertMany([{ conversation, sequence: 1 }, ...alike]);
    const error = await problemOf(turns);
    expect(error).toMatchObject({
      collection: 'opencode_turns_messages',
      index: 'conversation_sequence',
      disposition: 'fail',
    });
    expect([...error.documents].sort()).toEqual(alike.map(({ _id }) => String(_id)).sort());
    for (const id of error.documents) expect(error.message).toContain(id);
    await messages.deleteOne({ sequence: 2 });
    await turns.createIndexes();
  });

  it.each([
    ['of that name over other fields', { conversation: 1, role: 1 }, { name: 'conversation_sequence' }],
    ['of other options', { conversation: 1, sequence: 1 }, { name: 'conversation_sequence' }],
    ['of another name', { conversation: 1, sequence: 1 }, { name: 'mine', unique: true }],
  ])('names the index that is in the way: one %s', async (what, fields, options) => {
    const turns = await turnsOn(`other_${what.replaceAll(' ', '_').slice(0, 15)}`);
    const messages = turns.connection.collection('opencode_turns_messages');
    await messages.createIndex(fields as never, options);
    const error = await problemOf(turns);
    expect(error).toMatchObject({ index: 'conversation_sequence', documents: [] });
    expect(error.message).toContain(
      `db.getCollection("opencode_turns_messages").dropIndex("${options.name}")`,
    );
    await messages.dropIndex(options.name);
    await turns.createIndexes();
  });

  it('looks after the files, too', async () => {
    const connection = await connectMongo(withDatabase(database.url, `${database.connection.name}_files`));
    const files = new GridFsFileStore(connection, { bucketName: 'f' });
    await connection
      .collection('f.files')
      .insertMany([1, 2].map(() => ({ filename: 'a', metadata: { messageId: 'm' } })));
    await expect(files.ensureIndexes()).rejects.toMatchObject({
      code: 'index_conflict',
      collection: 'f.files',
    });
    await connection.close();
  });
});

it('an address without a database is refused, not read as "test"', async () => {
  const bare = database.url.replace(/(\/\/[^/]+).*/, '$1');
  for (const url of [bare, `${bare}/`, `${bare}/?appName=x`]) {
    const error = await connectMongo(url).catch((problem: unknown) => problem);
    expect(error).toBeInstanceOf(InvalidConfigError);
    expect(String(error)).toContain(`${bare}/<database>`);
  }
  const secret = await connectMongo(bare.replace('//', '//user:secret@')).catch(String);
  expect(secret).not.toContain('secret');
});
