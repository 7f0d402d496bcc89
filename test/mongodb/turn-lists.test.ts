import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import mongoose, { type Model } from 'mongoose';
import { ensureIndexes, type MessageDoc, turnModels } from '../../src/mongodb/models.ts';
import { MongoTurnLists } from '../../src/mongodb/turn-lists.ts';
import { MongoTurnStore } from '../../src/mongodb/turn-store.ts';
import { possibleStatuses } from '../../src/turn/listed.ts';
import { turnListsContract } from '../contract/turn-lists.ts';
import { startDatabase, type TestDatabase } from '../support/database.ts';
import { explained, notedFinds } from '../support/noted-finds.ts';

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

describe('each set of conditions', () => {
  /** Of each status and kind in both policies, and by far more turns than a page has. */
  const seeded = async () => {
    const models = turnModels(database.connection);
    const since = 1_700_000_000_000;
    const messages = Array.from({ length: 3_000 }, (_, at) => {
      const status = ['completed', 'error', 'cancelled', 'pending'][at % 4];
      const isAsking = status === 'pending' && at % 3 === 0;
      return {
        _id: new mongoose.Types.ObjectId(),
        conversation: new mongoose.Types.ObjectId(),
        counterpart: new mongoose.Types.ObjectId(),
        role: 'assistant',
        status,
        sequence: 2,
        policy: at % 5 === 0 ? 'rare' : 'often',
        createdAt: new Date(since + Math.floor(at / 2)),
        run: { phase: status === 'pending' ? 'prompted' : 'finished', epoch: 1, reruns: 0, resends: 0 },
        requests: isAsking ? [{ requestId: 'que_1', state: 'open', kind: 'question' }] : [],
        ...(status === 'error'
          ? { error: { reason: at % 8 === 1 ? 'run_lost' : 'internal', message: 'No.' } }
          : {}),
      };
    });
    await models.Message.collection.insertMany(messages as never[]);
    const users = messages.map(({ counterpart, ...message }) => ({
      ...message,
      _id: counterpart,
      role: 'user',
      status: 'completed',
      sequence: 1,
      requests: [],
    }));
    await models.Message.collection.insertMany(users as never[]);
    return { models, middle: since + 700 };
  };

  it('is served by an index that has all of them and the order: as many are read as are shown', async () => {
    const { models, middle } = await seeded();
    const { model, finds } = notedFinds(models.Message as unknown as Model<MessageDoc>);
    const lists = new MongoTurnLists(model, models.Conversation as never);
    const statuses = [undefined, 'pending', 'completed', 'error', 'cancelled'] as const;
    const choices = statuses.flatMap((status) =>
      [undefined, 'rare', 'often', 'nobodys'].flatMap((policy) =>
        [undefined, 'run_lost', 'nobodys'].flatMap((reason) =>
          [undefined, true as const].map((waitingForPeople) => ({
            status,
            policy,
            reason,
            waitingForPeople,
          })),
        ),
      ),
    );
    const places = [
      {},
      { since: middle },
      { until: middle },
      { since: middle - 200, until: middle },
      { behind: { id: 'f'.repeat(24), createdAt: middle } },
    ];
    let shown = 0;
    const unserved = async (which: readonly (typeof choices)[number][]) => {
      const wrong: unknown[] = [];
      for (const choice of which) {
        const query = Object.fromEntries(Object.entries(choice).filter(([, value]) => value !== undefined));
        if (possibleStatuses(query).length === 0) continue;
        for (const place of places) {
          finds.length = 0;
          shown += (await lists.turns({ ...query, ...place, limit: 20 })).turns.length;
          for (const find of finds) {
            const read = await explained(find);
            // Turns of the same time as the place where a page begins are read to be told apart.
            const most = read.nReturned + 3;
            const isRight = read.totalDocsExamined <= most && read.totalKeysExamined <= most;
            if (!isRight || /COLLSCAN|"SORT"/.test(read.plan)) wrong.push({ ...query, ...place, read });
          }
        }
      }
      return wrong;
    };
    expect(await unserved(choices)).toEqual([]);
    // Each of these indexes is needed by some.
    const { collection } = models.Message;
    const names = models.Message.schema.indexes().map(([, { name }]) => String(name));
    const listing = names.filter((name) => name.startsWith('listed_'));
    expect(listing.length).toBe(5);
    for (const name of listing) await collection.dropIndex(name);
    const some = choices.filter(({ status }) => status === undefined);
    expect((await unserved(some)).length).toBeGreaterThan(some.length);
    expect(shown).toBeGreaterThan(1_000);
  });
});
