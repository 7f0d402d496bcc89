import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import mongoose, { type Model } from 'mongoose';
import { ensureIndexes, type TurnModels, turnModels } from '../../src/mongodb/models.ts';
import { MongoTurnQueue } from '../../src/mongodb/turn-queue.ts';
import { MongoTurnStore } from '../../src/mongodb/turn-store.ts';
import { turnQueueContract } from '../contract/turn-queue.ts';
import { startDatabase, type TestDatabase } from '../support/database.ts';

let database: TestDatabase;
let models: TurnModels;
let store: MongoTurnStore;
let queue: MongoTurnQueue;
/** Runs once, between a claim's reads and its write. */
let beforeClaim: (() => Promise<unknown>) | undefined;

beforeAll(async () => {
  database = await startDatabase();
  models = turnModels(database.connection);
  await ensureIndexes([models.Conversation, models.Message] as unknown as Model<never>[]);
  const messages = models.Message as never;
  store = new MongoTurnStore(interrupted(models.Message) as never, models.Conversation as never);
  queue = new MongoTurnQueue(messages, models.Conversation as never);
});
afterAll(() => database.stop());

/** The model whose claims wait for `beforeClaim`. */
const interrupted = (model: object) =>
  new Proxy(model, {
    get: (target, key) => {
      const value = Reflect.get(target, key);
      if (key !== 'findOneAndUpdate') return typeof value === 'function' ? value.bind(target) : value;
      return (filter: { steered?: unknown }, ...rest: unknown[]) => ({
        lean: async () => {
          const step = 'steered' in filter ? beforeClaim : undefined;
          if (step) beforeClaim = undefined;
          await step?.();
          return value.call(target, filter, ...rest).lean();
        },
      });
    },
  });

const unknownId = () => String(new mongoose.Types.ObjectId());
const conversation = async () => String((await models.Conversation.create({ title: 'Trip' }))._id);
turnQueueContract(async () => ({ store, queue, conversation, unknownId }));

describe('between the reads of a claim and its write', () => {
  const two = async () => {
    const conversationId = await conversation();
    const create = async (text: string) =>
      (await store.create({ conversationId, text, policy: 'default', onBusy: 'enqueue' })).turn.id;
    return { conversationId, first: await create('a'), second: await create('b') };
  };
  const claim = (conversationId: string, id: string, step: () => Promise<unknown>) => {
    beforeClaim = step;
    return store.claim({ conversationId, id }, 'one');
  };

  it('an edit: the new text runs', async () => {
    const { conversationId, first } = await two();
    const claimed = await claim(conversationId, first, () => queue.edit(first, 'new'));
    expect(claimed).toMatchObject({ kind: 'claimed', turn: { userText: 'new', revision: 1 } });
  });

  it('a drop: nothing is claimed', async () => {
    const { conversationId, first } = await two();
    expect(await claim(conversationId, first, () => store.drop(first))).toEqual({ kind: 'finished' });
    expect((await store.get(first))?.run.epoch).toBe(0);
  });

  it('another turn is sent now: that one runs first', async () => {
    const { conversationId, first, second } = await two();
    const step = async () => expect(await queue.sendNow(second)).toEqual({ kind: 'moved' });
    expect(await claim(conversationId, first, step)).toEqual({ kind: 'behind', turnId: second });
  });

  it('it is moved to the end: the other one runs first', async () => {
    const { conversationId, first, second } = await two();
    expect(await claim(conversationId, first, () => queue.move(first, 'last'))).toEqual({
      kind: 'behind',
      turnId: second,
    });
  });

  it('a hold: nothing is claimed, and nothing is said to run', async () => {
    const { conversationId, first } = await two();
    const step = async () =>
      expect(await queue.hold(conversationId, undefined)).toEqual({ running: undefined });
    expect(await claim(conversationId, first, step)).toEqual({ kind: 'held' });
    expect((await store.get(first))?.run.epoch).toBe(0);
  });
});

describe('a process that dies in the middle', () => {
  it('of a move, before the turn is placed: the old order', async () => {
    const conversationId = await conversation();
    const create = async (text: string) =>
      (await store.create({ conversationId, text, policy: 'default', onBusy: 'enqueue' })).turn.id;
    const ids = [await create('a'), await create('b')];
    const dying = new MongoTurnQueue(
      new Proxy(models.Message, {
        get: (target, key) => {
          if (key === 'updateOne') return () => Promise.reject(new Error('dead'));
          const value = Reflect.get(target, key);
          return typeof value === 'function' ? value.bind(target) : value;
        },
      }) as never,
      models.Conversation as never,
    );
    await expect(dying.move(ids[1] as string, 'first')).rejects.toThrow('dead');
    expect((await store.head(conversationId))?.id).toBe(ids[0]);
    expect((await queue.queue(conversationId)).waiting.map(({ text }) => text)).toEqual(['a', 'b']);
  });

  it('of an edit, before the user’s message says it: whoever claims the turn writes it there', async () => {
    const conversationId = await conversation();
    const { turn } = await store.create({ conversationId, text: 'a', policy: 'default', onBusy: 'enqueue' });
    await queue.edit(turn.id, 'new');
    const key = { _id: new mongoose.Types.ObjectId(turn.id) };
    const question = { counterpart: key._id };
    await models.Message.collection.updateOne(question, { $set: { text: 'a' }, $unset: { edit: 1 } });
    expect((await store.get(turn.id))?.userText).toBe('new');
    await store.claim(turn, 'one');
    expect((await models.Message.collection.findOne(question))?.text).toBe('new');
  });

  it('turns that somebody steered are of a version that older releases leave alone', async () => {
    const conversationId = await conversation();
    const create = async (text: string) =>
      (await store.create({ conversationId, text, policy: 'default', onBusy: 'enqueue' })).turn.id;
    const [plain, edited, moved] = [await create('a'), await create('b'), await create('c')];
    await queue.edit(edited, 'new');
    await queue.move(moved, 'first');
    const versionOf = async (id: string) =>
      (await models.Message.collection.findOne({ _id: new mongoose.Types.ObjectId(id) }))?.schemaVersion;
    expect([await versionOf(plain), await versionOf(edited), await versionOf(moved)]).toEqual([1, 2, 2]);
  });
});
