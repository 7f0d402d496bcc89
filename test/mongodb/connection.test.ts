import { createServer, type Server, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import mongoose, { type Model } from 'mongoose';
import {
  ConflictError,
  InvalidConfigError,
  InvalidInputError,
  NotFoundError,
  ServiceUnavailableError,
} from '../../src/errors.ts';
import { connectMongo } from '../../src/mongodb/connection.ts';
import { mongoCall } from '../../src/mongodb/errors.ts';
import { ensureIndexes, turnModels } from '../../src/mongodb/models.ts';
import { opencodeSession } from '../../src/mongodb/opencode-session-plugin.ts';
import { MongoSessionStore } from '../../src/mongodb/session-store.ts';
import { startDatabase, type TestDatabase } from '../support/database.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await startDatabase();
});
afterAll(() => database.stop());

describe('connectMongo', () => {
  it.each([
    '',
    'localhost:27017',
    'http://localhost',
    'mongodb://',
    'mongodb://host/db?noSuchOption=1',
    'mongodb://a:b:c@host/db',
    7 as never,
  ])('refuses %j as a setting', async (url) => {
    await expect(connectMongo(url)).rejects.toThrow(InvalidConfigError);
  });

  it('says within its time that nobody listens, without the password', async () => {
    const since = performance.now();
    const error = await connectMongo('mongodb://user:secret@127.0.0.1:1/db', { timeoutMs: 300 }).catch(
      (e) => e,
    );
    expect(error).toBeInstanceOf(ServiceUnavailableError);
    expect(error).toMatchObject({ service: 'mongodb' });
    expect(error.message).toContain('127.0.0.1:1');
    expect(error.message).not.toContain('secret');
    expect(performance.now() - since).toBeLessThan(3_000);
  });

  it('says so too when a write fails on a connection that was just reset, which the driver does not', async () => {
    const reset = Object.assign(new Error('write ECONNRESET'), { code: 'ECONNRESET', syscall: 'write' });
    await expect(mongoCall(() => Promise.reject(reset))).rejects.toMatchObject({
      code: 'service_unavailable',
      service: 'mongodb',
    });
  });

  it('says within its time that a server takes calls and never answers', async () => {
    const sockets: Socket[] = [];
    const mute: Server = createServer((socket) => sockets.push(socket));
    await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve));
    const { port } = mute.address() as { port: number };
    const since = performance.now();
    await expect(connectMongo(`mongodb://127.0.0.1:${port}/db`, { timeoutMs: 300 })).rejects.toThrow(
      ServiceUnavailableError,
    );
    expect(performance.now() - since).toBeLessThan(3_000);
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => mute.close(resolve));
  });

  it('leaves the global connection alone, and its queries refuse what is not meant', async () => {
    const { connection } = database;
    expect(mongoose.connections.filter(({ readyState }) => readyState === 1)).not.toContain(
      mongoose.connection,
    );
    expect(mongoose.connection.readyState).toBe(0);
    const { Conversation } = turnModels(connection);
    await Conversation.create({ title: 'one' });
    await expect(Conversation.find({ nope: 1 } as never).exec()).rejects.toThrow(/strictQuery/);
    await expect(Conversation.find({ title: { $ne: null } } as never).exec()).rejects.toThrow(
      /Cast to string/,
    );
    expect(await Conversation.find({ title: mongoose.trusted({ $ne: '' }) } as never)).toHaveLength(1);
    await Conversation.collection.drop();
  });

  it('builds no index by itself', async () => {
    const connection = await connectMongo(database.url.replace(/\/[^/?]+(\?|$)/, '/test_noindex$1'));
    const { Conversation } = turnModels(connection);
    await Conversation.init();
    await Conversation.create({ title: 'one' });
    expect((await Conversation.collection.indexes()).map(({ name }) => name)).toEqual(['_id_']);
    await connection.dropDatabase();
    await connection.close();
  });
});

describe('a session on a model of the host', () => {
  const next = (sessionId: string) => ({ sessionId, server: 'http://oc' });

  async function trips() {
    const schema = new mongoose.Schema({ title: String, days: { type: Number, min: 1 } });
    schema.plugin(opencodeSession);
    schema.path('opencodeSessionId').validate((id: string) => id !== 'ses_refused', 'refused');
    const name = `Trip${new mongoose.Types.ObjectId()}`;
    const Trip = database.connection.model(name, schema) as unknown as Model<never>;
    await ensureIndexes([Trip]);
    const make = async () => String((await (Trip as never as Model<object>).create({ title: 'Lisbon' }))._id);
    return { Trip, store: new MongoSessionStore(Trip), make };
  }

  it('starts with none, and any number of documents may have none', async () => {
    const { store, make } = await trips();
    const ids = await Promise.all([make(), make(), make()]);
    for (const id of ids)
      expect(await store.session(id)).toMatchObject({ sessionId: null, server: null, title: 'Lisbon' });
  });

  it('is stored by one of twenty concurrent swaps from the same state', async () => {
    const { store, make } = await trips();
    const id = await make();
    for (const expected of [null, 'again'] as const) {
      const from = expected === null ? null : (await store.session(id)).sessionId;
      const results = await Promise.all(
        Array.from({ length: 20 }, (_, n) => store.swap(id, from, next(`ses_${expected}${n}`))),
      );
      expect(results.filter(Boolean)).toHaveLength(1);
      expect(await store.session(id)).toMatchObject({
        sessionId: `ses_${expected}${results.indexOf(true)}`,
        server: 'http://oc',
      });
    }
  });

  it('belongs to one document only', async () => {
    const { store, make } = await trips();
    const [one, other] = [await make(), await make()];
    await store.swap(one, null, next('ses_1'));
    await expect(store.swap(other, null, next('ses_1'))).rejects.toMatchObject({
      keys: ['opencodeSessionId'],
    });
    await expect(store.swap(other, null, next('ses_1'))).rejects.toBeInstanceOf(ConflictError);
    expect((await store.session(other)).sessionId).toBeNull();
  });

  it("passes the schema's own validators", async () => {
    const { store, make } = await trips();
    const id = await make();
    await expect(store.swap(id, null, next('ses_refused'))).rejects.toMatchObject({
      code: 'invalid_input',
      field: 'opencodeSessionId',
    });
    expect((await store.session(id)).sessionId).toBeNull();
  });

  it('needs a conversation that exists, an id that is one, and a model with the plugin', async () => {
    const { store } = await trips();
    const id = String(new mongoose.Types.ObjectId());
    await expect(store.session(id)).rejects.toEqual(new NotFoundError('conversation', id));
    await expect(store.swap(id, null, next('ses_1'))).rejects.toEqual(new NotFoundError('conversation', id));
    for (const bad of [{ $ne: null }, 'x', 5] as never[]) {
      await expect(store.session(bad)).rejects.toThrow(InvalidInputError);
      await expect(store.swap(bad, null, next('ses_1'))).rejects.toThrow(InvalidInputError);
    }
    const plain = database.connection.model('Plain', new mongoose.Schema({ title: String }));
    expect(() => new MongoSessionStore(plain as never)).toThrow(InvalidConfigError);
  });
});
