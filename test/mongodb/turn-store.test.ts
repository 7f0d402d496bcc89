import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import mongoose, { type Model } from 'mongoose';
import { ServiceUnavailableError } from '../../src/errors.ts';
import { connectMongo } from '../../src/mongodb/connection.ts';
import { ensureIndexes, type TurnModels, turnModels } from '../../src/mongodb/models.ts';
import { MongoSessionStore } from '../../src/mongodb/session-store.ts';
import { MongoStopStore } from '../../src/mongodb/stop-store.ts';
import { MongoTurnStore } from '../../src/mongodb/turn-store.ts';
import { sessionStoreContract } from '../contract/session-store.ts';
import { stopStoreContract } from '../contract/stop-store.ts';
import { ended, turnStoreContract } from '../contract/turn-store.ts';
import { startDatabase, type TestDatabase } from '../support/database.ts';

let database: TestDatabase;
let models: TurnModels;
let store: MongoTurnStore;

const unknownId = () => String(new mongoose.Types.ObjectId());
const newConversation = async () => String((await models.Conversation.create({ title: 'Trip' }))._id);
const input = (conversationId: string, idempotencyKey?: string) => ({
  conversationId,
  text: 'hello',
  policy: 'default',
  onBusy: 'enqueue' as const,
  ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
});
const messagesOf = (conversationId: string) =>
  models.Message.find({ conversation: new mongoose.Types.ObjectId(conversationId) }).sort({ sequence: 1 });

beforeAll(async () => {
  database = await startDatabase();
  models = turnModels(database.connection);
  const both = [models.Conversation, models.Message] as unknown as Model<never>[];
  await ensureIndexes(both);
  await ensureIndexes(both);
  store = new MongoTurnStore(models.Message as never, models.Conversation as never);
});
afterAll(() => database.stop());

const remove = async (id: string) => void (await models.Conversation.deleteOne({ _id: id }));
turnStoreContract(async () => ({ store, conversation: newConversation, remove, unknownId }));

describe('open stops', () =>
  stopStoreContract(async () => ({
    store,
    conversation: newConversation,
    stops: new MongoStopStore(models.Message as never),
  })));

describe('sessions', () =>
  sessionStoreContract(async () => ({
    store: new MongoSessionStore(models.Conversation as never),
    conversation: async (title) => String((await models.Conversation.create({ title }))._id),
    unknownId,
  })));

describe('a writer that died between question and answer', () => {
  const crash = async (conversationId: string, idempotencyKey?: string) => {
    const { turn } = await store.create(input(conversationId, idempotencyKey));
    await models.Message.deleteOne({ _id: new mongoose.Types.ObjectId(turn.id) });
    expect(await store.get(turn.id)).toBeNull();
    return turn;
  };

  it('is made good by the next ten calls with its key: one turn, the one that was meant', async () => {
    const conversationId = await newConversation();
    const crashed = await crash(conversationId, 'click');
    const { id } = crashed;
    const again = await Promise.all(
      Array.from({ length: 10 }, () => store.create(input(conversationId, 'click'))),
    );
    expect(new Set(again.map(({ turn }) => turn.id))).toEqual(new Set([id]));
    expect((await messagesOf(conversationId)).map(({ role, sequence }) => [role, sequence])).toEqual([
      ['user', 1],
      ['assistant', 2],
    ]);
    expect((await store.claim(crashed, 'one')).kind).toBe('claimed');
  });

  it('is made good by the next turn of the conversation, which comes behind it', async () => {
    const conversationId = await newConversation();
    const { id } = await crash(conversationId);
    const { turn: next } = await store.create(input(conversationId));
    expect((await messagesOf(conversationId)).map(({ role, sequence }) => [role, sequence])).toEqual([
      ['user', 1],
      ['assistant', 2],
      ['user', 3],
      ['assistant', 4],
    ]);
    expect(await store.claim(next, 'one')).toEqual({ kind: 'behind', turnId: id });
  });

  it('keeps a conversation busy for those who want to be refused', async () => {
    const conversationId = await newConversation();
    const { id } = await crash(conversationId);
    await expect(store.create({ ...input(conversationId), onBusy: 'reject' })).rejects.toMatchObject({
      code: 'turn_busy',
      busyTurnId: id,
    });
  });
});

it('a writer whose answer is written by somebody else, between its own two, has made its turn', async () => {
  const conversationId = await newConversation();
  let other: string | undefined;
  // MongoDB does not promise that nobody gets in between two documents of one insert.
  const halting: typeof models.Message = Object.create(models.Message, {
    insertMany: {
      value: async ([first, second]: object[]) => {
        await models.Message.insertMany([first]);
        other = (await store.create(input(conversationId))).turn.id;
        return models.Message.insertMany([second]);
      },
    },
  });
  const slow = new MongoTurnStore(halting as never, models.Conversation as never);
  const { turn, created } = await slow.create(input(conversationId));
  expect(created).toBe(true);
  const messages = await messagesOf(conversationId);
  expect(messages.map(({ role, sequence }) => [role, sequence])).toEqual([
    ['user', 1],
    ['assistant', 2],
    ['user', 3],
    ['assistant', 4],
  ]);
  expect([messages[1]?.id, messages[3]?.id]).toEqual([turn.id, other]);
});

it('the index alone keeps a second turn of a conversation from running, when the look at the head was wrong', async () => {
  const conversationId = await newConversation();
  const first = await store.create(input(conversationId));
  const second = await store.create(input(conversationId));
  await store.claim(first.turn, 'one');
  const wrong: typeof models.Message = Object.create(models.Message, {
    findOne: {
      value: (filter: { status?: string }) =>
        models.Message.findOne((filter.status === 'pending' ? { _id: second.turn.id } : filter) as never),
    },
  });
  const blind = new MongoTurnStore(wrong as never, models.Conversation as never);
  expect(await blind.claim(second.turn, 'two')).toEqual({ kind: 'behind', turnId: first.turn.id });
  expect(await store.get(second.turn.id)).toMatchObject({ run: { epoch: 0 } });
});

it('a message offers its parts and tool calls, which are stored once', async () => {
  const conversationId = await newConversation();
  const { turn } = await store.create(input(conversationId));
  const claim = await store.claim(turn, 'one');
  if (claim.kind !== 'claimed') throw new Error(claim.kind);
  const parts = [
    { id: 'prt_1', messageId: 'msg_1', type: 'text', text: 'hi' },
    {
      id: 'prt_2',
      messageId: 'msg_1',
      type: 'tool',
      tool: 'bash',
      callId: 'c',
      status: 'completed',
      input: {},
      metadata: {},
    },
  ];
  await store.finish({ turnId: turn.id, epoch: 1 }, ended('completed', { parts: parts as never }));
  const message = await models.Message.findById(turn.id);
  expect(message?.replyParts).toEqual(parts);
  expect(message?.toolCalls).toEqual([parts[1]]);
  expect(JSON.stringify(message?.toObject()).split('bash')).toHaveLength(2);
});

it.each<[string, unknown, readonly string[]]>([
  ['no JSON', '[{', []],
  ['no list', '{}', []],
  ['no text', { $x: 1 }, []],
  ['not there', null, []],
  ['holding what is no part', JSON.stringify([null, 5, { type: 'tool' }, { id: 'p', type: 'tool' }]), ['p']],
])('parts that are %s hide neither their message nor the others of a list', async (_name, parts, left) => {
  const conversationId = await newConversation();
  const { turn } = await store.create(input(conversationId));
  await models.Message.collection.updateOne(
    { _id: new mongoose.Types.ObjectId(turn.id) },
    { $set: { parts: parts as string } },
  );
  const listed = await messagesOf(conversationId);
  const told = listed.map((message) => [message.replyParts.map(({ id }) => id), message.damaged]);
  expect(told).toEqual([
    [[], undefined],
    [left, 'parts'],
  ]);
  expect(listed.map(({ toolCalls }) => toolCalls.map(({ id }) => id))).toEqual([[], left]);
  expect(listed.map((message) => JSON.stringify(message.toObject({ virtuals: true })))).toHaveLength(2);
  const { parts: read, damaged } = (await store.get(turn.id)) ?? {};
  expect([read?.map(({ id }) => id), damaged]).toEqual([left, 'parts']);
});

it('a turn in a database that is gone ends every call with ServiceUnavailableError in bounded time', async () => {
  const connection = await connectMongo(database.url, { timeoutMs: 500 });
  const { Message, Conversation } = turnModels(connection);
  const cut = new MongoTurnStore(Message as never, Conversation as never);
  const conversationId = await newConversation();
  const { turn } = await cut.create(input(conversationId));
  await connection.close();
  const fence = { turnId: turn.id, epoch: 1 };
  const calls = [
    cut.get(turn.id),
    cut.create(input(conversationId)),
    cut.claim(turn, 'one'),
    cut.control(turn.id),
    cut.write(fence, { text: 'x' }),
    cut.finish(fence, ended('completed')),
    cut.amend(fence, {}),
    cut.head(conversationId),
    cut.cancel(turn.id),
    cut.answer(turn.id, 'que_1', { kind: 'reject' }),
    cut.pending(Date.now(), 5),
    cut.conversation(conversationId),
  ];
  for (const result of await Promise.allSettled(calls)) {
    expect(result).toMatchObject({ status: 'rejected' });
    if (result.status === 'rejected') expect(result.reason).toBeInstanceOf(ServiceUnavailableError);
  }
});
