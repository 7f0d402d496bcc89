/** Many turns of one conversation at once, from several processes' worth of stores. */
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import type { Connection, Model } from 'mongoose';
import { connectMongo } from '../../src/mongodb/connection.ts';
import { ensureIndexes, type MessageDoc, turnModels } from '../../src/mongodb/models.ts';
import { MongoTurnStore } from '../../src/mongodb/turn-store.ts';
import type { NewTurn } from '../../src/ports/turn-store.ts';
import { startDatabase, type TestDatabase } from '../support/database.ts';

let database: TestDatabase;
const connections: Connection[] = [];
beforeAll(async () => {
  database = await startDatabase();
  const { Message, Conversation } = turnModels(database.connection);
  await ensureIndexes([Message as unknown as Model<never>, Conversation as unknown as Model<never>]);
});
afterAll(async () => {
  for (const connection of connections) await connection.close();
  await database.stop();
});

/** As another process has it: a store and a connection of its own. `inserts` counts what it sends. */
async function process() {
  const connection = await connectMongo(
    `${database.url}${database.url.includes('?') ? '&' : '?'}monitorCommands=true`,
  );
  connections.push(connection);
  const { Message, Conversation } = turnModels(connection);
  const counted = { inserts: 0 };
  connection.getClient().on('commandStarted', ({ commandName }) => {
    if (commandName === 'insert') counted.inserts += 1;
  });
  const store = new MongoTurnStore(
    Message as unknown as Model<MessageDoc>,
    Conversation as unknown as Model<never>,
  );
  return { store, counted };
}

const newConversation = async () =>
  String((await turnModels(database.connection).Conversation.create({ title: 'x' }))._id);
const turn = (conversationId: string, text: string, more: Partial<NewTurn> = {}): NewTurn => ({
  conversationId,
  text,
  policy: 'default',
  onBusy: 'enqueue',
  ...more,
});
const messages = (conversation: string) =>
  turnModels(database.connection)
    .Message.find({ conversation })
    .sort({ sequence: 1 })
    .lean<{ _id: unknown; role: string; sequence: number; counterpart: unknown; text: string }[]>();

async function expectWhole(conversation: string, turns: number) {
  const all = await messages(conversation);
  expect(all.map(({ sequence }) => sequence)).toEqual(Array.from({ length: 2 * turns }, (_, at) => at + 1));
  for (let at = 0; at < all.length; at += 2) {
    expect([all[at]?.role, all[at + 1]?.role]).toEqual(['user', 'assistant']);
    expect(String(all[at]?.counterpart)).toBe(String(all[at + 1]?._id));
  }
  return all.filter(({ role }) => role === 'user').map(({ text }) => text);
}

it('those of one process never race one another, and are in the order in which they came', async () => {
  const { store, counted } = await process();
  const conversation = await newConversation();
  const created = await Promise.all(
    Array.from({ length: 100 }, (_, at) => store.create(turn(conversation, String(at)))),
  );
  expect(await expectWhole(conversation, 100)).toHaveLength(100);
  expect(created.filter(({ first }) => first)).toHaveLength(1);
  // One for each turn: none has lost its number.
  expect(counted.inserts).toBe(100);
}, 60_000);

it('several processes leave no gap and no double, whoever wins, and nobody is refused', async () => {
  const conversation = await newConversation();
  const several = await Promise.all([process(), process(), process()]);
  await Promise.all(
    several.flatMap(({ store }, who) =>
      Array.from({ length: 40 }, (_, at) => store.create(turn(conversation, `${who}.${at}`))),
    ),
  );
  const texts = await expectWhole(conversation, 120);
  expect(new Set(texts).size).toBe(120);
}, 60_000);

it('one key is one turn, however many ask for it at once and wherever', async () => {
  const conversation = await newConversation();
  const several = await Promise.all([process(), process()]);
  const all = await Promise.all(
    several.flatMap(({ store }) =>
      Array.from({ length: 20 }, (_, at) =>
        store.create(turn(conversation, 'x', { idempotencyKey: `key ${at % 4}` })),
      ),
    ),
  );
  expect(new Set(all.map((each) => each.turn.id)).size).toBe(4);
  expect(all.filter(({ created }) => created)).toHaveLength(4);
  await expectWhole(conversation, 4);
}, 60_000);

it('of many that will not wait behind another one, one is taken', async () => {
  const { store } = await process();
  const conversation = await newConversation();
  const all = await Promise.allSettled(
    Array.from({ length: 20 }, (_, at) => store.create(turn(conversation, String(at), { onBusy: 'reject' }))),
  );
  expect(all.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  for (const each of all)
    if (each.status === 'rejected') expect(each.reason).toMatchObject({ code: 'turn_busy' });
  await expectWhole(conversation, 1);
}, 60_000);
