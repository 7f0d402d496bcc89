/** Conversations of a host whose ids are no ObjectIds: everything that turns do, on the real services. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import mongoose, { type Model } from 'mongoose';
import { opencodeSession, type Turns } from '../../src/index.ts';
import { safeName } from '../../src/turn/conversation-id.ts';
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
    const worker = await turns.work({ policies });
    const { view, entries } = await followAll(plain(turns), first.id);
    expect(view.end).toMatchObject({ status: 'completed', text: 'fine' });
    expect(entries.filter(({ type: kind }) => kind === 'finished')).toHaveLength(1);
    expect(system.model.turnRequests.length - asked).toBe(1);
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
