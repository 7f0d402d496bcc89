import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { startRedis } from '../../dev/services/redis.ts';
import type { Service } from '../../dev/services/service.ts';
import { connect, InvalidConfigError, type Turns } from '../../src/index.ts';
import { startDatabase, type TestDatabase } from '../support/database.ts';

let database: TestDatabase;
let redis: Service;
let turns: Turns;

beforeAll(async () => {
  [database, redis] = await Promise.all([startDatabase(), startRedis(() => undefined)]);
  turns = await connect({
    redis: redis.url,
    mongo: database.url,
    opencode: { url: 'http://127.0.0.1:9' },
    prefix: 'test-indexes',
  });
}, 90_000);
afterAll(async () => {
  await turns.close();
  await Promise.all([database.stop(), redis.stop()]);
});
beforeEach(() => turns.createIndexes());

const work = () => turns.work({ policies: { default: {} } });
const messages = () => turns.models.Message.collection;
/** Connections of workers that Redis has; none may be left by one that was refused. */
const clients = async () => {
  const { Redis } = await import('ioredis');
  const client = new Redis(redis.url);
  const list = String(await client.client('LIST'));
  await client.quit();
  return list.split('\n').filter((line) => line.includes('id=')).length;
};

describe('a worker is refused, by the fields of the index,', () => {
  it.each([
    ['conversation, sequence', () => messages().dropIndex('conversation_sequence')],
    ['conversation, idempotencyKey', () => messages().dropIndex('conversation_idempotency')],
    ['conversation', () => messages().dropIndex('conversation_one_active')],
    ['opencodeSessionId', () => turns.models.Conversation.collection.dropIndex('opencode_session_unique')],
    [
      'metadata.messageId, filename',
      () => turns.connection.collection('opencode_turns_artifacts.files').dropIndex('message_filename'),
    ],
  ])('without the one on %s', async (fields, drop) => {
    await drop();
    const before = await clients();
    await expect(work()).rejects.toBeInstanceOf(InvalidConfigError);
    await expect(work()).rejects.toThrow(`has no unique index on ${fields}; build it once`);
    await expect(work()).rejects.toThrow(/turns\.createIndexes\(\)/);
    expect(await clients()).toBe(before);
  });

  it('when it is not unique', async () => {
    await messages().dropIndex('conversation_sequence');
    await messages().createIndex({ conversation: 1, sequence: 1 }, { name: 'by_hand' });
    await expect(work()).rejects.toThrow(/conversation, sequence that is not unique/);
    await messages().dropIndex('by_hand');
  });

  it('when it holds for other documents', async () => {
    await messages().dropIndex('conversation_one_active');
    await messages().createIndex(
      { conversation: 1 },
      { name: 'by_hand', unique: true, partialFilterExpression: { 'run.active': false } },
    );
    await expect(work()).rejects.toThrow(/on conversation over other documents/);
    await messages().dropIndex('by_hand');
  });

  it('on a database that has nothing yet', async () => {
    await turns.connection.dropDatabase();
    await expect(work()).rejects.toThrow(/no unique index on conversation, sequence/);
  });
});

it('an index of another name and the same meaning is as good', async () => {
  await messages().dropIndex('conversation_sequence');
  await messages().createIndex({ conversation: 1, sequence: 1 }, { name: 'mine', unique: true });
  const worker = await work();
  await worker.stop(0);
  await messages().dropIndex('mine');
});

it('without one that only lists are read by, a worker works, and createIndexes builds it again', async () => {
  const names = async () => (await messages().indexes()).map(({ name }) => name);
  const listing = (await names()).filter((name) => name?.startsWith('listed_'));
  expect(listing.length).toBeGreaterThan(0);
  for (const name of listing) await messages().dropIndex(String(name));
  const worker = await work();
  await worker.stop(0);
  expect(await turns.list({ policy: 'default', waitingForPeople: true })).toEqual({ turns: [] });
  await turns.createIndexes();
  expect(await names()).toEqual(expect.arrayContaining(listing));
});
