/** The stores over conversations of each type of id that a host may have. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import mongoose, { type Model } from 'mongoose';
import { InvalidInputError } from '../../src/errors.ts';
import { opencodeSession } from '../../src/index.ts';
import { collectionNames } from '../../src/mongodb/collection-names.ts';
import { connectMongo } from '../../src/mongodb/connection.ts';
import { checkConversationModel } from '../../src/mongodb/conversation-model.ts';
import { ensureIndexes, turnModels } from '../../src/mongodb/models.ts';
import { MongoSessionStore } from '../../src/mongodb/session-store.ts';
import { MongoStopStore } from '../../src/mongodb/stop-store.ts';
import { MongoTurnLists } from '../../src/mongodb/turn-lists.ts';
import { MongoTurnStore } from '../../src/mongodb/turn-store.ts';
import type { ConversationIdType } from '../../src/turn/conversation-id.ts';
import { sessionStoreContract } from '../contract/session-store.ts';
import { stopStoreContract } from '../contract/stop-store.ts';
import { turnListsContract } from '../contract/turn-lists.ts';
import { turnStoreContract } from '../contract/turn-store.ts';
import { startDatabase, type TestDatabase, withDatabase } from '../support/database.ts';
import { hostileIds } from '../support/hostile-ids.ts';

type AnyModel = Model<{ _id: unknown; title?: string }>;

let database: TestDatabase;
const opened: mongoose.Connection[] = [];
beforeAll(async () => {
  database = await startDatabase();
});
afterAll(async () => {
  await Promise.all(opened.map((connection) => connection.close()));
  await database.stop();
});

let count = 0;
const nextNumber = () => {
  count += 1;
  return count;
};
const some = ['../a b:', 'A/{', '%\u0000', '👩‍🚀', 'x'.repeat(190)];
const newIds: Record<ConversationIdType, () => unknown> = {
  ObjectId: () => new mongoose.Types.ObjectId(),
  String: () => `${some[nextNumber() % some.length]}${count}`,
  Number: () => -nextNumber(),
  UUID: () => new mongoose.Types.UUID(randomUUID()),
  BigInt: () => 2n ** 62n + BigInt(nextNumber()),
};
const modelOf = (on: mongoose.Connection, of: typeof mongoose, type: string, options: object = {}) =>
  on.model(
    `Trip${type}${nextNumber()}`,
    new of.Schema({ _id: { type: of.Schema.Types[type as 'String'], ...options }, title: String }).plugin(
      opencodeSession,
    ),
  ) as unknown as AnyModel;

/** The stores of a process whose conversations are of that model. */
async function world(type: ConversationIdType, of: typeof mongoose = mongoose, name = type as string) {
  const host = await new of.Mongoose().createConnection(database.url).asPromise();
  const own = await connectMongo(withDatabase(database.url, `${database.connection.name}_${name}`));
  opened.push(host as never, own);
  const model = modelOf(host as never, of, type);
  const { Message } = turnModels(own, collectionNames(), type);
  await ensureIndexes([Message, model] as never);
  const conversation = async (title = 'Trip') => {
    const id = newIds[type]();
    await model.create({ _id: id, title } as never);
    return String(id);
  };
  return {
    store: new MongoTurnStore(Message as never, model as never),
    lists: new MongoTurnLists(Message as never, model as never),
    sessions: new MongoSessionStore(model as never),
    stops: new MongoStopStore(Message as never),
    Message,
    model,
    conversation,
    remove: async (id: string) => void (await model.deleteOne({ _id: id })),
    unknownId: () => String(new mongoose.Types.ObjectId()),
    unknownConversation: () => String(newIds[type]()),
  };
}
/** By a name that the compiler does not follow. */
const older: string = 'mongoose-8';
const types = ['String', 'Number', 'UUID', 'BigInt'] as const;

describe.each(types)('conversations whose ids are of the type %s', (type) => {
  describe('turns', () => turnStoreContract(() => world(type)));
  describe('lists', () =>
    turnListsContract(async () => {
      const made = await world(type, mongoose, `${type}_lists`);
      return { ...made, unknownId: made.unknownConversation };
    }));
  describe('open stops', () => stopStoreContract(async () => ({ ...(await world(type)) })));
  describe('sessions', () =>
    sessionStoreContract(async () => {
      const { sessions, ...rest } = await world(type);
      return { ...rest, store: sessions, unknownId: rest.unknownConversation };
    }));
});

describe.each(types)("ids of the type %s of a host's own Mongoose", (type) => {
  it('are those of its conversations', async () => {
    const { default: mongoose8 } = (await import(older)) as { default: typeof mongoose };
    const { store, sessions, conversation } = await world(type, mongoose8);
    const [conversationId, other] = [await conversation('Oslo'), await conversation()];
    const { turn } = await store.create({ conversationId, text: 'hi', policy: 'default', onBusy: 'enqueue' });
    expect(await store.claim(turn, 'one')).toMatchObject({
      kind: 'claimed',
      conversation: { title: 'Oslo', id: conversationId },
    });
    const next = { sessionId: `ses_${type}`, server: 'http://oc' };
    expect(await sessions.swap(conversationId, null, next)).toBe(true);
    expect(await sessions.session(conversationId)).toMatchObject({ sessionId: next.sessionId });
    await expect(sessions.swap(other, null, next)).rejects.toMatchObject({ code: 'conflict' });
  });
});

it.each(types)(
  'an operator, or an id of another type, reaches no database in place of one of the type %s',
  async (type) => {
    const { store, sessions, stops, conversation, Message } = await world(type);
    await conversation();
    const before = await Message.countDocuments({});
    const input = { text: 'x', policy: 'p', onBusy: 'enqueue' } as const;
    const foreign = type === 'String' ? [7, ''] : ['x', '', hostileIds[0]];
    for (const conversationId of [{ $ne: null }, { $gt: '' }, null, [], ...foreign] as never[]) {
      await expect(store.create({ ...input, conversationId })).rejects.toThrow(InvalidInputError);
      await expect(store.conversation(conversationId)).rejects.toThrow(InvalidInputError);
      await expect(store.head(conversationId)).rejects.toThrow(InvalidInputError);
      await expect(sessions.session(conversationId)).rejects.toThrow(InvalidInputError);
      await expect(sessions.swap(conversationId, null, null)).rejects.toThrow(InvalidInputError);
      await expect(stops.open({ conversationId, limit: 1 })).rejects.toThrow(InvalidInputError);
    }
    expect(await Message.countDocuments({})).toBe(before);
  },
);

it('hostile ids are conversations of their own, each with its turns and its session', async () => {
  const { store, sessions, model } = await world('String');
  await model.create(hostileIds.map((_id) => ({ _id, title: _id.slice(0, 3) })) as never);
  const input = { text: 'x', policy: 'p', onBusy: 'reject', idempotencyKey: 'k' } as const;
  const made = await Promise.all(
    hostileIds.map((conversationId) => store.create({ ...input, conversationId })),
  );
  expect(new Set(made.map(({ turn }) => turn.id)).size).toBe(hostileIds.length);
  for (const [at, conversationId] of hostileIds.entries()) {
    expect(made[at]).toMatchObject({ created: true, turn: { conversationId, sequence: 2 } });
    expect((await store.head(conversationId))?.id).toBe(made[at]?.turn.id);
    expect(await sessions.swap(conversationId, null, { sessionId: `ses_h${at}`, server: 'x' })).toBe(true);
  }
  for (const [at, conversationId] of hostileIds.entries())
    expect(await sessions.session(conversationId)).toMatchObject({ sessionId: `ses_h${at}` });
});

it('messages are found by the id of the host, and by its text; 24 hex digits are stored as ever', async () => {
  const { store, model, Message } = await world('String');
  const hex = String(new mongoose.Types.ObjectId());
  for (const _id of [hex, 'Trip/1']) {
    await model.create({ _id } as never);
    await store.create({ conversationId: _id, text: 'x', policy: 'p', onBusy: 'enqueue' });
    expect(await Message.find({ conversation: _id as never })).toHaveLength(2);
  }
  const stored = await Message.find().sort({ _id: 1 }).lean();
  expect(stored.map(({ conversation, schemaVersion }) => [conversation, schemaVersion])).toEqual(
    expect.arrayContaining([
      [new mongoose.Types.ObjectId(hex), 1],
      ['Trip/1', 2],
    ]),
  );
});

it('a schema that takes one id for another makes no conversation of two names', async () => {
  const { store, sessions, model } = await (async () => {
    const host = await new mongoose.Mongoose().createConnection(database.url).asPromise();
    opened.push(host);
    const lower = modelOf(host, mongoose, 'String', { lowercase: true });
    const { Message } = turnModels(database.connection, collectionNames('lower'), 'String');
    return {
      model: lower,
      store: new MongoTurnStore(Message as never, lower as never),
      sessions: new MongoSessionStore(lower as never),
    };
  })();
  await model.create({ _id: 'Trip' } as never);
  const input = { text: 'x', policy: 'p', onBusy: 'enqueue' } as const;
  await expect(store.create({ ...input, conversationId: 'Trip' })).rejects.toMatchObject({
    code: 'not_found',
  });
  await expect(sessions.session('Trip')).rejects.toMatchObject({ code: 'not_found' });
  expect(await store.conversation('Trip')).toBeNull();
  expect((await store.create({ ...input, conversationId: 'trip' })).created).toBe(true);
});

it.each(['Date', 'Buffer', 'Decimal128', 'Mixed', 'Double', 'Boolean'])(
  'a model whose ids are of the type %s is refused, with the types that may be',
  (type) => {
    const model = modelOf(mongoose.createConnection(), mongoose, type);
    expect(() => checkConversationModel(model)).toThrow(
      new RegExp(`has ids of the type ${type}; may be: ObjectId, String, Number, UUID, BigInt`),
    );
  },
);

it('a number that an Int32 cannot hold is refused as input, and one that it can is an id', async () => {
  const host = await new mongoose.Mongoose().createConnection(database.url).asPromise();
  opened.push(host);
  const model = modelOf(host, mongoose, 'Int32');
  expect(checkConversationModel(model)).toBe('Number');
  const { Message } = turnModels(database.connection, collectionNames('int32'), 'Number');
  const store = new MongoTurnStore(Message as never, model as never);
  await model.create({ _id: 7 } as never);
  expect(await store.conversation('7')).toMatchObject({ id: '7' });
  await expect(store.conversation(String(2 ** 40))).rejects.toThrow(InvalidInputError);
});
