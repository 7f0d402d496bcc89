import { afterAll, beforeAll, expect, it } from '@jest/globals';
import mongoose, { type Model } from 'mongoose';
import { ensureIndexes, type MessageDoc, turnModels } from '../../src/mongodb/models.ts';
import { pageOfTurns } from '../../src/mongodb/turn-pages.ts';
import { startDatabase, type TestDatabase } from '../support/database.ts';
import { explained, notedFinds } from '../support/noted-finds.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await startDatabase();
});
afterAll(() => database.stop());

it('a page far behind reads what it shows, and not what lies in front of it', async () => {
  const models = turnModels(database.connection);
  await ensureIndexes([models.Message] as unknown as Model<never>[]);
  const turns = Array.from({ length: 500 }, (_, at) => ({
    _id: new mongoose.Types.ObjectId(),
    conversation: new mongoose.Types.ObjectId(),
    role: 'assistant',
    status: 'pending',
    sequence: 2,
    policy: 'default',
    createdAt: new Date(1_000 + Math.floor(at / 2)),
  }));
  await models.Message.collection.insertMany(turns as never[]);
  const { model, finds } = notedFinds(models.Message as unknown as Model<MessageDoc>);
  const { _id, createdAt } = turns[400] as (typeof turns)[number];
  const after = { id: String(_id), createdAt: createdAt.getTime() };
  const page = await pageOfTurns(model, { status: 'pending' }, 9_999, 20, after);
  expect(page.map(({ id }) => id)).toEqual(turns.slice(401, 421).map((turn) => String(turn._id)));
  expect((await explained(finds[0])).totalDocsExamined).toBeLessThanOrEqual(22);
});
