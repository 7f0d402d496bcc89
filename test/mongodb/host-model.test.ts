/** What a host may give as `conversations` by mistake. */
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import mongoose, { type Model } from 'mongoose';
import { startRedis } from '../../dev/services/redis.ts';
import type { Service } from '../../dev/services/service.ts';
import { connect, isTurnsError, opencodeSession, type Turns } from '../../src/index.ts';
import { startDatabase, type TestDatabase } from '../support/database.ts';

let database: TestDatabase;
let redis: Service;
const connections: mongoose.Connection[] = [];
beforeAll(async () => {
  [database, redis] = await Promise.all([startDatabase(), startRedis(() => undefined)]);
}, 90_000);
afterAll(async () => {
  await Promise.all(connections.map((connection) => connection.close()));
  await redis.stop();
  await database.stop();
});

const connectWith = (conversations: unknown): Promise<Turns> =>
  connect({
    redis: redis.url,
    mongo: database.url,
    opencode: { url: 'http://127.0.0.1:1' },
    conversations: conversations as Model<never>,
    connectTimeoutMs: 1_000,
  });
function modelOn(connection: mongoose.Connection, schema = new mongoose.Schema({ title: String })) {
  connections.push(connection);
  return connection.model('Trip', schema.plugin(opencodeSession));
}

it.each<[string, unknown, RegExp]>([
  ['a function', () => 1, /must be a Mongoose model/],
  ['a class', class Trip {}, /must be a Mongoose model/],
  ['a document class of no schema', mongoose.Model, /must be a Mongoose model/],
  [
    'a model without the plugin',
    mongoose.createConnection().model('Bare', new mongoose.Schema({ title: String })),
    /model "Bare" cannot own a session; add schema.plugin\(opencodeSession\)/,
  ],
])('conversations: %s is refused at connect', async (_what, conversations, problem) => {
  const connected = connectWith(conversations);
  await connected.then((turns) => turns.close()).catch(() => undefined);
  await expect(connected).rejects.toMatchObject({
    code: 'invalid_config',
    setting: 'conversations',
    message: expect.stringMatching(problem),
  });
});

it.each<[string, (turns: Turns) => Promise<unknown>]>([
  ['createIndexes', (turns) => turns.createIndexes()],
  ['work', (turns) => turns.work({ policies: { default: {} } })],
])(
  'a model whose connection is not open: %s says so, within the time limit of connect',
  async (_name, call) => {
    const turns = await connectWith(modelOn(mongoose.createConnection()));
    const error = await call(turns).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    await turns.close();
    expect(isTurnsError(error) && error.code).toBe('service_unavailable');
    expect(String(error)).toMatch(/connection of the model "Trip" \(option "conversations"\) is not open/);
  },
  30_000,
);

it('a model whose connection opens meanwhile is waited for', async () => {
  const connection = mongoose.createConnection();
  const turns = await connectWith(modelOn(connection));
  const built = turns.createIndexes();
  await connection.openUri(database.url);
  await expect(built).resolves.toBeUndefined();
  await turns.close();
});
