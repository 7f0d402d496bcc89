import { afterAll, beforeAll, describe } from '@jest/globals';
import mongoose, { type Model } from 'mongoose';
import { ensureIndexes, turnModels } from '../../src/mongodb/models.ts';
import { MongoTurnLists } from '../../src/mongodb/turn-lists.ts';
import { MongoTurnStore } from '../../src/mongodb/turn-store.ts';
import { turnListsContract } from '../contract/turn-lists.ts';
import { startDatabase, type TestDatabase } from '../support/database.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await startDatabase();
});
afterAll(() => database.stop());

async function open() {
  const models = turnModels(database.connection);
  await ensureIndexes([models.Conversation, models.Message] as unknown as Model<never>[]);
  const [messages, conversations] = [models.Message as never, models.Conversation as never];
  return {
    store: new MongoTurnStore(messages, conversations),
    lists: new MongoTurnLists(messages, conversations),
    conversation: async () => String((await models.Conversation.create({ title: 'Trip' }))._id),
    unknownId: () => String(new mongoose.Types.ObjectId()),
  };
}

describe('lists over MongoDB', () => turnListsContract(open));
