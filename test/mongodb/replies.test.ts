/**
 * Every reply of MongoDB to every command of every call of the stores, replaced once: by each error that passes, after
 * the server has done what it was asked, or without that. What is stored in the end is what would have been stored.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import mongoose, { type Connection, type Model } from 'mongoose';
import {
  DatabaseRefusedError,
  isRetryable,
  ServiceUnavailableError,
  TurnBusyError,
} from '../../src/errors.ts';
import { collectionNames } from '../../src/mongodb/collection-names.ts';
import { connectMongo } from '../../src/mongodb/connection.ts';
import { GridFsFileStore } from '../../src/mongodb/file-store.ts';
import { ensureIndexes, type TurnModels, turnModels } from '../../src/mongodb/models.ts';
import { MongoSessionStore } from '../../src/mongodb/session-store.ts';
import { MongoTurnStore } from '../../src/mongodb/turn-store.ts';
import type { NewTurn } from '../../src/ports/turn-store.ts';
import { persevere } from '../../src/timing/persevere.ts';
import { ended, question } from '../contract/turn-store.ts';
import { startDatabase, type TestDatabase } from '../support/database.ts';
import { type Doc, errorReply, MongoReplyProxy } from '../support/mongo-reply-proxy.ts';

let database: TestDatabase;
let proxy: MongoReplyProxy;
let connection: Connection;
let models: TurnModels;
let store: MongoTurnStore;
let sessions: MongoSessionStore;
let files: GridFsFileStore;

beforeAll(async () => {
  database = await startDatabase();
  proxy = await MongoReplyProxy.start(database.url);
  // A driver looks twice a second at most at a server that says it is no primary; here it may at once.
  connection = await connectMongo(
    `${proxy.url}${proxy.url.includes('?') ? '&' : '?'}minHeartbeatFrequencyMS=10`,
  );
  models = turnModels(connection);
  await ensureIndexes([models.Conversation, models.Message] as unknown as Model<never>[]);
  store = new MongoTurnStore(models.Message as never, models.Conversation as never);
  sessions = new MongoSessionStore(models.Conversation as never);
  files = new GridFsFileStore(connection);
  await files.ensureIndexes();
});
afterAll(async () => {
  await connection.close();
  await proxy.stop();
  await database.stop();
});

const newId = () => String(new mongoose.Types.ObjectId());
const newConversation = async () => String((await models.Conversation.create({ title: 'Trip' }))._id);
const newTurn = (conversationId: string, more: Partial<NewTurn> = {}): NewTurn => ({
  conversationId,
  text: 'hello',
  policy: 'default',
  onBusy: 'enqueue',
  ...more,
});
const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  );
const isInsert = ({ name, body }: { name: string; body: Doc }) =>
  name === 'insert' && body.insert === models.Message.collection.name;

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

/** One call of a store: its world, what it does, and what must be true of its answer and of what is stored then. */
interface Call {
  readonly prepare: () => Promise<unknown>;
  readonly run: (world: never) => Promise<unknown>;
  readonly check: (world: never, answer: never) => Promise<void>;
}
const call = <W, A>(
  prepare: () => Promise<W>,
  run: (world: W) => Promise<A>,
  check: (world: W, answer: A) => Promise<void>,
): Call => ({ prepare, run, check }) as Call;

const created = (key?: string) =>
  call(
    newConversation,
    (conversationId) => store.create(newTurn(conversationId, key ? { idempotencyKey: key } : {})),
    async (conversationId, { turn, created: isNew }) => {
      expect(isNew).toBe(true);
      expect(await store.get(turn.id)).toEqual(turn);
      const messages = await models.Message.find({ conversation: conversationId }).sort({ sequence: 1 });
      expect(messages.map(({ role, sequence }) => [role, sequence])).toEqual([
        ['user', 1],
        ['assistant', 2],
      ]);
    },
  );
const queued = async () => (await store.create(newTurn(await newConversation()))).turn;
const running = async () => {
  const turn = await queued();
  await store.claim(turn, 'one');
  return { turn, fence: { turnId: turn.id, epoch: 1 } };
};
const asked = async () => {
  const { turn, fence } = await running();
  await store.write(fence, { request: question('que_1') });
  return { turn, fence };
};

const calls: Readonly<Record<string, Call>> = {
  create: created(),
  'create with a key': created('click'),
  claim: call(
    queued,
    (turn) => store.claim(turn, 'one'),
    async (turn, claim) => {
      expect(claim).toMatchObject({ kind: 'claimed', turn: { run: { epoch: 1, owner: 'one' } } });
      expect((await store.get(turn.id))?.run.epoch).toBe(1);
    },
  ),
  write: call(
    running,
    ({ fence }) => store.write(fence, { text: 'half', request: question('que_1') }),
    async ({ turn }) => {
      const stored = await store.get(turn.id);
      expect(stored).toMatchObject({ text: 'half', status: 'pending' });
      expect(stored?.requests).toEqual([question('que_1')]);
    },
  ),
  finish: call(
    running,
    ({ fence }) => store.finish(fence, ended('completed', { text: 'all' })),
    async ({ turn }, won) => {
      expect(won).toBe(true);
      expect(await store.get(turn.id)).toMatchObject({ status: 'completed', text: 'all' });
    },
  ),
  'cancel of a waiting turn': call(
    queued,
    (turn) => store.cancel(turn.id),
    async (turn, result) => {
      expect(result).toBe('cancelled');
      expect(await store.get(turn.id)).toMatchObject({ status: 'cancelled', run: { phase: 'finished' } });
    },
  ),
  'cancel of a running turn': call(
    running,
    ({ turn }) => store.cancel(turn.id),
    async ({ turn }, result) => {
      expect(result).toBe('requested');
      expect((await store.get(turn.id))?.run.cancelRequestedAt).toBeGreaterThan(0);
    },
  ),
  answer: call(
    asked,
    ({ turn }) => store.answer(turn.id, 'que_1', { kind: 'reject' }),
    async ({ turn }, stored) => {
      expect(stored).toBe(true);
      expect((await store.get(turn.id))?.requests).toEqual([
        question('que_1', { answer: { kind: 'reject' } }),
      ]);
    },
  ),
  swap: call(
    newConversation,
    (id) => sessions.swap(id, null, { sessionId: `ses_${id}`, server: 'http://oc' }),
    async (id, swapped) => {
      expect(swapped).toBe(true);
      expect((await sessions.session(id)).sessionId).toBe(`ses_${id}`);
    },
  ),
  attach: call(
    async () => newId(),
    (id) => files.attach(id, { filename: 'a.txt', contentType: 'text/plain', content: Buffer.from('hi') }),
    async (id, { file }) => {
      expect(await files.list(id)).toEqual([file]);
      const bytes: Uint8Array[] = [];
      for await (const piece of files.read(file.fileId)) bytes.push(piece);
      expect(Buffer.concat(bytes).toString()).toBe('hi');
      const chunks = connection.collection(`${collectionNames().files}.chunks`);
      const entries = connection.collection(`${collectionNames().files}.files`);
      expect(await chunks.countDocuments({})).toBe(await entries.countDocuments({}));
    },
  ),
};

/** What the ports promise: the same call may be made again after an error that passes. */
const patiently = <T>(fn: () => Promise<T>) =>
  persevere(fn, { firstMs: 1, maxMs: 20, again: isRetryable }, AbortSignal.timeout(20_000));

/** The answers that pass, for a write each; a read tells only apart whether it is asked again. */
const codes = [
  1, 6, 7, 8, 13, 43, 46, 50, 64, 79, 89, 91, 100, 112, 134, 189, 251, 262, 365, 462, 9001, 10107, 11600,
  11602, 13435, 13436, 14031, 16500, 99_999,
];
/** Carried out, and not confirmed by as many nodes as were asked for. */
const unconfirmed = [64, 79, 100, 10107].map((code) => ({
  ok: 1,
  n: 1,
  nModified: 1,
  writeConcernError: { code, errmsg: 'put in by a test' },
}));
const readCodes = [1, 50, 91, 112, 99_999];
const isRead = (name: string) => ['find', 'aggregate', 'listIndexes'].includes(name);

describe.each(Object.entries(calls))('%s', (_, { prepare, run, check }) => {
  it('ends as ever, whichever of its replies is replaced by whichever error that passes', async () => {
    const first = await prepare();
    const before = proxy.commands.length;
    await check(first as never, (await run(first as never)) as never);
    const probe = await prepare();
    const from = proxy.commands.length;
    expect(from).toBeGreaterThan(before);
    await run(probe as never);
    const count = proxy.commands.length - from;
    for (let at = 1; at <= count; at += 1) {
      const what = proxy.commands[from + at - 1]?.name ?? '';
      const replies = [...(isRead(what) ? readCodes : codes).map((code) => errorReply(code)), 'cut' as const];
      for (const executed of isRead(what) ? [false] : [true, false])
        for (const reply of executed ? [...replies, ...unconfirmed] : replies) {
          const world = await prepare();
          // A driver repeats a read by itself, once, after some of them: the second reply is replaced as well.
          const rule = proxy.replace({ at, executed, reply, times: isRead(what) ? 2 : 1 });
          const answer = await patiently(() => run(world as never)).catch((error: unknown) => {
            throw new Error(`${what} (${at}), executed ${executed}, ${JSON.stringify(reply)}`, {
              cause: error,
            });
          });
          expect(rule.hits.length).toBeGreaterThan(0);
          proxy.clear();
          await check(world as never, answer as never);
        }
    }
  }, 300_000);
});

describe('an enqueue whose insert is cut off', () => {
  it('answers its turn without being called again, whether the insert was executed or not', async () => {
    for (const executed of [true, false]) {
      const conversationId = await newConversation();
      const rule = proxy.replace({ at: isInsert, executed, reply: 'cut' });
      const { turn, created: isNew } = await store.create(newTurn(conversationId));
      expect([rule.hits.length, isNew]).toEqual([1, true]);
      expect(await store.get(turn.id)).toEqual(turn);
      expect(await models.Message.countDocuments({ conversation: conversationId })).toBe(2);
    }
  });

  it('says that it may be stored when nobody can be asked, and is one turn when it is called again', async () => {
    for (const executed of [true, false]) {
      const conversationId = await newConversation();
      const turn = newTurn(conversationId, { idempotencyKey: 'click' });
      let cut = false;
      // From the insert on, every reply is lost.
      proxy.replace({
        at: (command) => {
          cut ||= isInsert(command);
          return cut;
        },
        executed,
        reply: errorReply(11600),
        times: 10_000,
      });
      const error = await failure(store.create(turn));
      proxy.clear();
      expect(error).toBeInstanceOf(ServiceUnavailableError);
      expect(error).toMatchObject({ service: 'mongodb', effect: 'unknown' });
      const again = await store.create(turn);
      expect(again.created).toBe(!executed);
      expect(await models.Message.countDocuments({ conversation: conversationId })).toBe(2);
    }
  });

  it('says that nothing is stored when nothing was sent', async () => {
    const conversationId = await newConversation();
    proxy.replace({
      at: ({ name }) => name !== 'x',
      executed: false,
      reply: errorReply(10107),
      times: 10_000,
    });
    const error = await failure(store.create(newTurn(conversationId)));
    proxy.clear();
    expect(error).toMatchObject({ code: 'service_unavailable', effect: 'none' });
    expect(await models.Message.countDocuments({ conversation: conversationId })).toBe(0);
  });
});

it('a refusal that stays one is told as such, and not asked again', async () => {
  const conversationId = await newConversation();
  const rule = proxy.replace({
    at: isInsert,
    executed: false,
    reply: errorReply(121),
    times: 9,
  });
  const error = await failure(store.create(newTurn(conversationId)));
  proxy.clear();
  expect(error).toBeInstanceOf(DatabaseRefusedError);
  expect(error).toMatchObject({ serverCode: 121, disposition: 'fail' });
  expect(rule.hits).toHaveLength(1);
});

describe('a key wins over whatever is found first', () => {
  it('also over a busy conversation, in a hundred of a hundred pairs of calls at once', async () => {
    for (let round = 0; round < 100; round += 1) {
      const conversationId = await newConversation();
      const turn = newTurn(conversationId, { idempotencyKey: 'click', onBusy: 'reject' });
      const [one, two] = await Promise.all([store.create(turn), store.create(turn)]);
      expect(one.turn.id).toBe(two.turn.id);
      expect([one.created, two.created].sort()).toEqual([false, true]);
    }
  }, 300_000);

  it('and a call with another key, or none, is refused', async () => {
    const conversationId = await newConversation();
    const { turn } = await store.create(
      newTurn(conversationId, { idempotencyKey: 'click', onBusy: 'reject' }),
    );
    for (const more of [{}, { idempotencyKey: 'other' }]) {
      const error = await failure(store.create(newTurn(conversationId, { ...more, onBusy: 'reject' })));
      expect(error).toEqual(new TurnBusyError(conversationId, turn.id));
    }
  });
});

describe('a server that does not say which index refused a write', () => {
  /** As FerretDB over DocumentDB answers, and Cosmos DB: neither pattern nor value, and only the index's name. */
  const mute = (name: string): Doc => ({
    ok: 1,
    n: 0,
    writeErrors: [
      {
        index: 0,
        code: 11000,
        errmsg: `Duplicate key violation on the requested collection: Index '${name}'`,
      },
    ],
  });
  const one = errorReply(1, 'duplicate key value violates unique constraint');

  it('is asked what is stored: the turn of a key', async () => {
    for (const reply of [mute('conversation_idempotency'), one, errorReply(1, 'deadlock detected')]) {
      const conversationId = await newConversation();
      const turn = newTurn(conversationId, { idempotencyKey: 'click' });
      let other: string | undefined;
      // Somebody else gets in between our look and our insert.
      const halting: typeof models.Message = Object.create(models.Message, {
        insertMany: {
          value: async (...args: Parameters<typeof models.Message.insertMany>) => {
            other ??= (await store.create(turn)).turn.id;
            proxy.replace({ at: isInsert, executed: false, reply });
            return models.Message.insertMany(...args);
          },
        },
      });
      const slow = new MongoTurnStore(halting as never, models.Conversation as never);
      const result = await slow.create(turn);
      proxy.clear();
      expect(result).toMatchObject({ created: false, turn: { id: other } });
      expect(await models.Message.countDocuments({ conversation: conversationId })).toBe(2);
    }
  });

  it('and the holder of a session id', async () => {
    for (const reply of [mute('opencode_session_unique'), one]) {
      const [id, holder] = [await newConversation(), await newConversation()];
      const next = { sessionId: `ses_${id}`, server: 'http://oc' };
      await sessions.swap(holder, null, next);
      proxy.replace({ at: ({ name }) => name === 'update', executed: false, reply });
      expect(await failure(sessions.swap(id, null, next))).toMatchObject({
        code: 'conflict',
        keys: ['opencodeSessionId'],
      });
      proxy.clear();
    }
  });

  it('and the turn that is active, when the look at the head was wrong', async () => {
    for (const reply of [errorReply(11000, "Index 'conversation_one_active'"), one]) {
      const conversationId = await newConversation();
      const [active, behind] = [
        await store.create(newTurn(conversationId)),
        await store.create(newTurn(conversationId)),
      ];
      await store.claim(active.turn, 'one');
      const wrong: typeof models.Message = Object.create(models.Message, {
        findOne: {
          value: (filter: { status?: string }, ...more: []) =>
            models.Message.findOne(
              (filter.status === 'pending' ? { _id: behind.turn.id } : filter) as never,
              ...more,
            ),
        },
      });
      const blind = new MongoTurnStore(wrong as never, models.Conversation as never);
      proxy.replace({ at: ({ name }) => name === 'findAndModify', executed: false, reply });
      expect(await blind.claim(behind.turn, 'two')).toEqual({ kind: 'behind', turnId: active.turn.id });
      proxy.clear();
      expect((await store.get(behind.turn.id))?.run.epoch).toBe(0);
    }
  });
});
