/** Conversations of a host whose ids are no ObjectIds: everything that turns do, on the real services. */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import mongoose, { type Model } from 'mongoose';
import { opencodeSession, type TurnConversation, type Turns } from '../../src/index.ts';
import { serverAddress } from '../../src/opencode/address.ts';
import { openCodeClient } from '../../src/opencode/v1/client.ts';
import { ConversationLock } from '../../src/redis/lock.ts';
import { metadataOf } from '../../src/session/mark.ts';
import { sessionLock } from '../../src/session/session.ts';
import { type ConversationIdType, idText, safeName } from '../../src/turn/conversation-id.ts';
import { deferred } from '../support/deferred.ts';
import { eventually } from '../support/eventually.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { followAll } from '../support/turns.ts';

type AnyModel = Model<{ _id: unknown; opencodeDirectory?: string }>;

let system: TestSystem;
let host: mongoose.Connection;
let redis: Redis;
beforeAll(async () => {
  system = await startSystem();
  host = await mongoose.createConnection(system.options.mongo).asPromise();
  redis = new Redis(system.options.redis);
}, 90_000);
afterAll(async () => {
  redis?.disconnect();
  await host?.close();
  await system?.stop();
});

/** A deployment with a model of that kind of id, which works in folders of its own. */
async function deployment(name: string, _id: unknown) {
  const schema = new mongoose.Schema({ _id: _id as never, title: String });
  const model = host.model(name, schema.plugin(opencodeSession)) as unknown as AnyModel;
  const options = {
    prefix: `${system.options.prefix}-${name}`,
    collectionPrefix: `${name}_`,
    mongo: system.options.mongo,
  };
  const turns = (await system.connect<{ _id: unknown }>({
    ...options,
    conversations: model as never,
  })) as unknown as Turns<{ _id: unknown }>;
  return { model, turns, prefix: options.prefix };
}
const policies = { default: { model: 'scripted/scripted' } };
const plain = (turns: Turns<{ _id: unknown }>) => turns as unknown as Turns;
const hex = '0123456789abcdef01234567';
const uuid = '0b1c2d3e-4f50-4a61-8b72-93a4b5c6d7e8';

describe.each<[string, unknown, unknown, string]>([
  ['ObjectId', mongoose.Schema.Types.ObjectId, new mongoose.Types.ObjectId(hex), hex],
  ['String', String, '../Trip: {ä}/%2e\u0000 👩‍🚀', '../Trip: {ä}/%2e\u0000 👩‍🚀'],
  ['HexString', String, hex, hex],
  ['Number', Number, -7, '-7'],
  ['UUID', mongoose.Schema.Types.UUID, new mongoose.Types.UUID(uuid), uuid],
  ['BigInt', mongoose.Schema.Types.BigInt, 2n ** 60n, String(2n ** 60n)],
])('a conversation whose id is %s', (name, type, id, text) => {
  it('has turns, files, a session and a folder as any other', async () => {
    system.respond(() => ({ text: ['fine'] }));
    const { model, turns, prefix } = await deployment(name, type);
    const idType = name.replace('Hex', '') as ConversationIdType;
    const document = await model.create({ _id: id } as never);
    const files = [{ filename: 'a.txt', contentType: 'text/plain', content: Buffer.from('of the user') }];
    // Nobody works yet: what is cancelled now waits.
    const cancelled = await turns.enqueue({ conversation: text, text: 'never' });
    expect(await turns.cancel(cancelled.id)).toBe('cancelled');
    const first = await turns.enqueue({ conversation: document, text: 'one', files, idempotencyKey: 'k' });
    const lean = (await model.findById(id as never).lean()) as { _id: unknown };
    const again = await turns.enqueue({ conversation: lean, text: 'one', files, idempotencyKey: 'k' });
    expect(again.id).toBe(first.id);
    await expect(
      turns.enqueue({ conversation: id as string, text: 'two', onBusy: 'reject' }),
    ).rejects.toMatchObject({ code: 'turn_busy', conversationId: text, busyTurnId: first.id });

    const asked = system.model.turnRequests.length;
    const seen: unknown[] = [];
    const told = ({ id: known, document: { _id } }: TurnConversation<{ _id: unknown }>) => {
      seen.push([known, idText(idType, _id)]);
      return 'Be kind.';
    };
    const worker = await turns.work({ policies: { default: { ...policies.default, system: told } } });
    const { view, entries } = await followAll(plain(turns), first.id);
    expect(view.end).toMatchObject({ status: 'completed', text: 'fine' });
    expect(entries.filter(({ type: kind }) => kind === 'finished')).toHaveLength(1);
    expect(system.model.turnRequests.length - asked).toBe(1);
    expect(seen).toEqual([[text, text]]);
    const stored = await turns.get(first.id);
    expect(stored).toMatchObject({ conversationId: text, status: 'completed', run: { epoch: 1 } });
    expect(await turns.get(cancelled.id)).toMatchObject({ conversationId: text, status: 'cancelled' });

    const directory = path.join(system.sandboxRoot, safeName(text, prefix, model.collection.collectionName));
    expect(readFileSync(path.join(directory, 'a.txt'), 'utf8')).toBe('of the user');
    const session = await turns.session(text).stored();
    expect(session).toMatchObject({ sessionId: stored?.run.sessionId, directory });
    expect(await turns.session(document).ensure()).toEqual(session);
    // What hosts read: our messages by their own id.
    const messages = turns.models.Message;
    expect(await messages.countDocuments({ conversation: id as never })).toBe(4);
    expect(await messages.countDocuments({ conversation: text as never })).toBe(4);
    await worker.stop(0);
    expect(await redis.keys(`${prefix}:lock:*`)).toEqual([]);
  }, 120_000);
});

describe('conversations whose ids differ in little', () => {
  const pairs = [
    ['Trip/../{%2e}:a', 'trip/../{%2e}:a'],
    [`${'x'.repeat(199)}1`, `${'x'.repeat(199)}2`],
  ] as const;

  it.each(pairs)(
    'share no lock, session, folder, file or stream: %j and %j',
    async (one, two) => {
      system.respond(({ userText }) => ({ text: [userText.includes('of one') ? 'one' : 'two'] }));
      const { model, turns, prefix } = await deployment(`Pair${one.length}`, String);
      await model.create([{ _id: one }, { _id: two }] as never);
      await turns.work({ policies });
      const files = [{ filename: 'a.txt', contentType: 'text/plain', content: Buffer.from('of one') }];
      const held = deferred();
      const lock = new ConversationLock({ redis, prefix, reporter: system.options.reporter as never });
      const holding = lock.run(sessionLock(one), () => held.promise);
      await eventually(async () => expect(await redis.keys(`${prefix}:lock:*`)).toHaveLength(1));
      const first = await turns.enqueue({ conversation: one, text: 'of one', files });
      const second = await turns.enqueue({ conversation: two, text: 'of the other' });
      // One waits for its lock, and the other does not.
      expect((await followAll(plain(turns), second.id)).view.end).toMatchObject({ text: 'two' });
      expect(await turns.get(first.id)).toMatchObject({ status: 'pending' });
      held.resolve();
      await holding;
      expect((await followAll(plain(turns), first.id)).view.end).toMatchObject({ text: 'one' });
      const [ofOne, ofTwo] = [await turns.session(one).stored(), await turns.session(two).stored()];
      expect(ofOne?.sessionId).not.toBe(ofTwo?.sessionId);
      const directories = [ofOne?.directory ?? '', ofTwo?.directory ?? ''];
      expect(new Set(directories.map((name) => name.toLowerCase())).size).toBe(2);
      for (const name of directories) expect(path.dirname(name)).toBe(system.sandboxRoot);
      expect(directories.map((name) => existsSync(path.join(name, 'a.txt')))).toEqual([true, false]);
    },
    120_000,
  );
});

it('what fell between two systems is found: a session that nobody stored, and a turn whose conversation is gone', async () => {
  system.respond(() => ({ text: ['fine'] }));
  const { model, turns, prefix } = await deployment('Swept', String);
  const [kept, gone] = ['../kept: {1}', '../gone: {1}'];
  await model.create([{ _id: kept }, { _id: gone }] as never);
  const left = await turns.enqueue({ conversation: gone, text: 'never' });
  await model.deleteOne({ _id: gone });
  const stored = await turns.session(kept).ensure();
  const { url, password } = system.opencode;
  const client = openCodeClient({ address: serverAddress(url, undefined, password) });
  const mark = {
    prefix,
    conversation: safeName(kept),
    mint: 'm',
    collection: model.collection.collectionName,
  };
  const directory = stored.directory ?? '';
  const { id } = await client.createSession({ title: 'x', directory, metadata: metadataOf(mark) });
  const known = async () => (await client.recentSessions(0, 1_000)).map((session) => session.id);
  const lock = new ConversationLock({ redis, prefix, reporter: system.options.reporter as never });
  const held = deferred();
  const holding = lock.run(sessionLock(kept), () => held.promise);
  await turns.work({ policies, sweeper: { everyMs: 200, minAgeMs: 1 } });
  const end = { status: 'error', error: { reason: 'conversation_gone' } };
  await eventually(async () => expect(await turns.get(left.id)).toMatchObject(end));
  // A mint of that conversation may be under way: the sweeper waits for its end.
  expect(await known()).toContain(id);
  held.resolve();
  await holding;
  await eventually(async () => expect(await known()).not.toContain(id), 60_000);
  expect(await known()).toContain(stored.sessionId);
}, 120_000);
