/** Documents of a newer release: read by nobody who does not know their version, and changed by nobody. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import mongoose, { type Model } from 'mongoose';
import { ensureIndexes, type TurnModels, turnModels } from '../../src/mongodb/models.ts';
import { MongoSessionStore } from '../../src/mongodb/session-store.ts';
import { MongoStopStore } from '../../src/mongodb/stop-store.ts';
import { MongoTurnStore } from '../../src/mongodb/turn-store.ts';
import type { ClaimResult } from '../../src/ports/turn-store.ts';
import { turnFailure } from '../../src/turn/failure.ts';
import { turnVersionOf, versions } from '../../src/turn/versions.ts';
import { ended, question } from '../contract/turn-store.ts';
import { startDatabase, type TestDatabase } from '../support/database.ts';

const ref = { sessionId: 'ses_b', server: 'http://b', rules: 'r', directory: '/d' };
const stop = { sessionId: 'ses_s', server: 'http://s', directory: '/d', promptMessageId: 'msg_s' };
const artifact = {
  fileId: '0123456789abcdef01234567',
  filename: 'a.txt',
  contentType: 'text/plain',
  bytes: 1,
  sha256: 'x',
  metadata: {},
};
const newer = { turn: versions.turn + 1, session: versions.session + 1 };
const refusal = (kind: 'turn' | 'session', id: string) => ({
  code: 'newer_version',
  kind,
  id,
  found: newer[kind],
  known: versions[kind],
});

let database: TestDatabase;
let models: TurnModels;
let store: MongoTurnStore;
let sessions: MongoSessionStore;
let stops: MongoStopStore;
const raw = (of: { collection: unknown }) => of.collection as mongoose.mongo.Collection;
const key = (id: string) => ({ _id: new mongoose.Types.ObjectId(id) });
const message = (id: string) => raw(models.Message).findOne(key(id));
const conversationDoc = (id: string) => raw(models.Conversation).findOne(key(id));
const change = (id: string, $set: Record<string, unknown>) =>
  raw(models.Message).updateOne(key(id), { $set });

beforeAll(async () => {
  database = await startDatabase();
  models = turnModels(database.connection);
  await ensureIndexes([models.Conversation, models.Message] as unknown as Model<never>[]);
  store = new MongoTurnStore(models.Message as never, models.Conversation as never);
  sessions = new MongoSessionStore(models.Conversation as never);
  stops = new MongoStopStore(models.Message as never);
});
afterAll(() => database.stop());

const newConversation = async () => String((await models.Conversation.create({ title: 'Trip' }))._id);
const input = (conversationId: string) => ({
  conversationId,
  text: 'hello',
  policy: 'default',
  onBusy: 'enqueue' as const,
});
const create = async (conversationId?: string) =>
  (await store.create(input(conversationId ?? (await newConversation())))).turn;
const claimed = (result: ClaimResult) => {
  if (result.kind !== 'claimed') throw new Error(`not claimed: ${result.kind}`);
  return { turn: result.turn, fence: { turnId: result.turn.id, epoch: result.turn.run.epoch } };
};

describe('what is stored', () => {
  it('carries its version: both messages of a turn, and the session data', async () => {
    const turn = await create();
    const reply = await message(turn.id);
    expect(reply).toMatchObject({ schemaVersion: turnVersionOf(turn.conversationId) });
    expect(await message(String(reply?.counterpart))).toMatchObject({
      schemaVersion: turnVersionOf(turn.conversationId),
    });
    const conversation = await newConversation();
    expect(await sessions.swap(conversation, null, { ...ref, sessionId: 'ses_own' })).toBe(true);
    expect(await conversationDoc(conversation)).toMatchObject({ opencodeSessionVersion: versions.session });
  });

  it('is of the first version as long as older releases can go on with it', async () => {
    expect((await message((await create()).id))?.schemaVersion).toBe(1);
  });

  it('without a version is of the first one, and gets one with its next owner', async () => {
    const turn = await create();
    await raw(models.Message).updateMany({}, { $unset: { schemaVersion: 1 } });
    expect(await store.get(turn.id)).toMatchObject({ id: turn.id });
    claimed(await store.claim(turn, 'one'));
    expect(await message(turn.id)).toMatchObject({ schemaVersion: turnVersionOf(turn.conversationId) });
  });

  it('in a version that is no number is damaged, and can be ended', async () => {
    const turn = await create();
    await change(turn.id, { schemaVersion: 'two' });
    expect(claimed(await store.claim(turn, 'one')).turn.damaged).toBe('schemaVersion');
  });
});

/** A turn that is stored by a newer release, as far as this one has brought it. */
async function newerTurn(how: 'queued' | 'running' | 'finished' = 'queued') {
  const turn = await create();
  if (how !== 'queued') {
    const { fence } = claimed(await store.claim(turn, 'one'));
    await store.write(fence, { request: question('que_1') });
    if (how === 'finished') await store.finish(fence, ended('completed', { text: 'all' }));
  }
  await change(turn.id, { schemaVersion: newer.turn, 'run.later': { a: 1 }, later: [1] });
  return { turn, before: await message(turn.id) };
}

describe('a turn of a newer version', () => {
  it.each(['queued', 'running', 'finished'] as const)(
    'that is %s is told, and left as it is',
    async (how) => {
      const { turn, before } = await newerTurn(how);
      const refused = expect.objectContaining(refusal('turn', turn.id));
      await expect(store.get(turn.id)).rejects.toEqual(refused);
      await expect(store.control(turn.id)).rejects.toEqual(refused);
      await expect(store.waiting(turn.id)).rejects.toEqual(refused);
      await expect(store.claim(turn, 'two')).rejects.toEqual(refused);
      await expect(store.cancel(turn.id)).rejects.toEqual(refused);
      await expect(store.answer(turn.id, 'que_1', { kind: 'reject' })).rejects.toEqual(refused);
      expect(await message(turn.id)).toEqual(before);
    },
  );

  it('of a conversation that is gone, or whose end nobody has told, is left to a newer worker', async () => {
    const { turn, before } = await newerTurn();
    await models.Conversation.deleteOne({ _id: turn.conversationId });
    await expect(store.claim(turn, 'two')).rejects.toMatchObject(refusal('turn', turn.id));
    expect(await store.abandon(turn.id, turnFailure('conversation_gone'))).toBeNull();
    expect(await message(turn.id)).toEqual(before);
    const cancelled = await create();
    await store.cancel(cancelled.id);
    await change(cancelled.id, { schemaVersion: newer.turn });
    const untold = await message(cancelled.id);
    expect(await store.takeUnannounced(cancelled.id, 1_000)).toBeNull();
    expect(await message(cancelled.id)).toEqual(untold);
  });

  it('with a user message of one is claimed by nobody', async () => {
    const turn = await create();
    const before = await message(turn.id);
    await change(String(before?.counterpart), { schemaVersion: newer.turn });
    await expect(store.claim(turn, 'one')).rejects.toMatchObject({ code: 'newer_version', kind: 'turn' });
    expect(await message(turn.id)).toEqual(before);
  });

  it('still has a job, and others of its conversation wait behind it', async () => {
    const { turn } = await newerTurn();
    const next = await create(turn.conversationId);
    expect(await store.claim(next, 'one')).toEqual({ kind: 'behind', turnId: turn.id });
    expect(await store.head(turn.conversationId)).toMatchObject({ id: turn.id });
    const pending = await store.pending(Date.now() + 60_000, 1_000);
    expect(pending.map(({ id }) => id)).toEqual(expect.arrayContaining([turn.id, next.id]));
  });

  it('whose reply is not stored yet gets it from a newer writer, and others come behind it', async () => {
    const first = await create();
    const counterpart = (await message(first.id))?.counterpart;
    await raw(models.Message).deleteOne(key(first.id));
    await change(String(counterpart), { schemaVersion: newer.turn });
    const next = await create(first.conversationId);
    expect(next.sequence).toBe(first.sequence + 2);
    expect(await message(first.id)).toBeNull();
  });

  it('keeps what it has left running from the sweeper, and from a prompt into the same session', async () => {
    const { turn } = await newerTurn('finished');
    await change(turn.id, { 'run.openStops': [stop], 'run.stopTriedAt': 1 });
    const open = await stops.open({ limit: 1_000 });
    expect(open.map(({ turnId }) => turnId)).not.toContain(turn.id);
    const { conversationId } = turn;
    const ofSession = stops.open({ conversationId, sessionId: stop.sessionId, limit: 10 });
    await expect(ofSession).rejects.toMatchObject(refusal('turn', turn.id));
  });
});

describe('session data of a newer version', () => {
  it('is told, and neither used nor replaced', async () => {
    const turn = await create();
    const id = turn.conversationId;
    await sessions.swap(id, null, { ...ref, sessionId: 'ses_newer' });
    const later = { opencodeSessionVersion: newer.session, opencodeLater: 'x' };
    await raw(models.Conversation).updateOne(key(id), { $set: later });
    const before = await conversationDoc(id);
    const refused = refusal('session', id);
    await expect(sessions.session(id)).rejects.toMatchObject(refused);
    await expect(store.claim(turn, 'one')).rejects.toMatchObject(refused);
    expect(await sessions.swap(id, 'ses_newer', ref)).toBe(false);
    const held = { ...ref, sessionId: 'ses_newer', rules: 'other', directory: '/other' };
    await sessions.noteRules(id, 'r', held);
    await sessions.noteDirectory(id, held);
    expect(await conversationDoc(id)).toEqual(before);
    expect(await message(turn.id)).toMatchObject({ run: { epoch: 0 } });
  });
});

it('what a newer release has added to a document of a known version stays, whatever is written', async () => {
  const conversationId = await newConversation();
  const turn = await create(conversationId);
  const later = { later: { a: [1] }, 'run.later': 'x' };
  await change(turn.id, later);
  await raw(models.Conversation).updateOne(key(conversationId), { $set: { later: 1 } });
  const { fence } = claimed(await store.claim(turn, 'one'));
  await store.write(fence, { request: question('que_1'), artifacts: [artifact] });
  await change(turn.id, { 'requests.0.later': 1, 'artifacts.0.later': 2 });
  expect(await store.answer(turn.id, 'que_1', { kind: 'reject' })).toBe(true);
  expect(await store.cancel(turn.id)).toBe('requested');
  const adopted = claimed(await store.claim(turn, 'two'));
  const { artifacts } = adopted.turn;
  const request = question('que_1', { state: 'rejected' });
  await store.write(adopted.fence, { text: 'half', run: { phase: 'prompted' }, request, artifacts });
  await store.finish(adopted.fence, ended('cancelled', { text: 'half', artifacts }));
  expect(await message(turn.id)).toMatchObject({
    status: 'cancelled',
    later: { a: [1] },
    run: { later: 'x', phase: 'finished' },
    requests: [{ later: 1, state: 'rejected', answer: JSON.stringify({ kind: 'reject' }) }],
    artifacts: [{ later: 2, filename: 'a.txt' }],
  });
  const own = { ...ref, sessionId: 'ses_beside' };
  await sessions.swap(conversationId, null, own);
  await sessions.noteRules(conversationId, 'r', { ...own, rules: 'r2' });
  expect(await conversationDoc(conversationId)).toMatchObject({ later: 1, opencodeRules: 'r2' });
});
