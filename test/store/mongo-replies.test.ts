import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Connection } from 'mongoose';
import { connectMongo } from '../../src/store/connection.ts';
import { startDatabase, type TestDatabase } from '../support/database.ts';
import { errorReply, MongoReplyProxy } from '../support/mongo-reply-proxy.ts';

let database: TestDatabase;
let proxy: MongoReplyProxy;
let connection: Connection;

beforeAll(async () => {
  database = await startDatabase();
  proxy = await MongoReplyProxy.start(database.url);
  connection = await connectMongo(proxy.url);
});
afterAll(async () => {
  await connection.close();
  await proxy.stop();
  await database.stop();
});

describe('the proxy itself', () => {
  const things = () => connection.collection('things');

  it('replaces the reply of a command that was executed, or keeps the command from the server', async () => {
    for (const executed of [true, false]) {
      const rule = proxy.replace({ at: ({ name }) => name === 'insert', executed, reply: errorReply(91) });
      await expect(things().insertOne({ executed })).rejects.toMatchObject({ code: 91 });
      expect(rule.hits.map(({ body }) => body.insert)).toEqual(['things']);
      expect(await things().countDocuments({ executed })).toBe(executed ? 1 : 0);
      await things().insertOne({ executed });
    }
  });

  it('cuts the connection in the middle of a command, and counts from where it is told to', async () => {
    const known = proxy.commands.length;
    proxy.replace({ at: 2, executed: true, reply: 'cut' });
    await things().insertOne({ cut: 1 });
    await expect(things().insertOne({ cut: 2 })).rejects.toThrow();
    expect(await things().countDocuments({ cut: { $gt: 0 } })).toBe(2);
    expect(proxy.commands.slice(known).map(({ name }) => name)).toEqual(['insert', 'insert', 'aggregate']);
  });
});
