import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Model } from 'mongoose';
import { spawnEntry } from '../../dev/entry.ts';
import { ForeignAnswerError, LockHeldError, LockLostError, LockUnavailableError } from '../../src/errors.ts';
import { ConflictError, NotFoundError, ServiceUnavailableError, type Turns } from '../../src/index.ts';
import { noopTracer } from '../../src/instrumentation/tracer.ts';
import { MongoSessionStore } from '../../src/mongodb/session-store.ts';
import { serverAddress } from '../../src/opencode/address.ts';
import { openCodeClient } from '../../src/opencode/v1/client.ts';
import type { OpenCode } from '../../src/opencode/v1/server.ts';
import type { Lock } from '../../src/ports/lock.ts';
import type { SessionStore } from '../../src/ports/session-store.ts';
import { openRedis } from '../../src/redis/connection.ts';
import { ConversationLock } from '../../src/redis/lock.ts';
import type { WireSession } from '../../src/reply/wire.ts';
import { Session } from '../../src/session/session.ts';
import { discardOrphans } from '../../src/sweeper/orphan-sessions.ts';
import { systemClock } from '../../src/timing/clock.ts';
import type { SessionRef } from '../../src/turn/stored-turn.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { newConversation } from '../support/turns.ts';
import { upstreamOver } from '../support/upstream.ts';

let system: TestSystem;
let turns: Turns;
let client: OpenCode;
let lock: Lock;
let store: SessionStore;
let redis: Awaited<ReturnType<typeof openRedis>>;
const reporter = { report: () => undefined };
/** No lock at all: what happens when Redis has lost it. */
const noLock: Lock = { run: (_key, fn) => fn(new AbortController().signal) };

beforeAll(async () => {
  system = await startSystem();
  turns = await system.connect();
  client = openCodeClient({
    address: serverAddress(system.opencode.url, undefined, system.opencode.password),
  });
  redis = await openRedis(system.redis.url, 'commands', reporter);
  lock = new ConversationLock({ redis, prefix: 'session-test', reporter });
  store = new MongoSessionStore(turns.models.Conversation as unknown as Model<never>);
}, 90_000);
afterAll(async () => {
  await redis?.quit();
  await system.stop();
});

interface Made {
  readonly conversationId: string;
  readonly directory: string;
  session(parts?: { store?: SessionStore; lock?: Lock; client?: OpenCode; known?: SessionRef }): Session;
  upstream(): Promise<string[]>;
}

async function made(): Promise<Made> {
  const conversationId = await newConversation(turns);
  const directory = path.join(system.sandboxRoot, conversationId);
  mkdirSync(directory);
  return {
    conversationId,
    directory,
    session: (parts = {}) =>
      new Session({
        conversationId,
        known: parts.known,
        prefix: 'test',
        store: parts.store ?? store,
        lock: parts.lock ?? lock,
        upstream: () => upstreamOver(parts.client ?? client),
        directory,
        tracer: noopTracer,
        reporter,
      }),
    upstream: async () => {
      const sessions = await client.sessions(directory);
      return sessions
        .filter(({ metadata }) => metadata?.opencodeTurnsConversation === conversationId)
        .map(({ id }) => id);
    },
  };
}

describe('ensure', () => {
  it('mints one session for 200 concurrent calls from 4 processes', async () => {
    const { conversationId, directory, upstream } = await made();
    const { opencode, options } = system;
    const task = {
      redis: options.redis,
      mongo: options.mongo,
      opencode: { url: opencode.url, ...(opencode.password ? { password: opencode.password } : {}) },
      prefix: 'race',
      conversationId,
      directory,
      calls: 50,
    };
    const racers = Array.from({ length: 4 }, () => {
      const child = spawnEntry(import.meta.url, '../support/ensure-racer', [JSON.stringify(task)], {
        stdio: ['pipe', 'pipe', 'inherit'],
      });
      if (!child.stdout) throw new Error('no stdout');
      return { child, lines: createInterface({ input: child.stdout })[Symbol.asyncIterator]() };
    });
    for (const { lines } of racers) expect((await lines.next()).value).toBe('ready');
    for (const { child } of racers) child.stdin?.write('go\n');
    const exits = racers.map(({ child }) => once(child, 'exit'));
    const answers = (
      await Promise.all(
        racers.map(
          async ({ lines }) =>
            JSON.parse(String((await lines.next()).value)) as { sessionId: string; justCreated: boolean }[],
        ),
      )
    ).flat();
    expect(answers).toHaveLength(200);
    expect(new Set(answers.map(({ sessionId }) => sessionId)).size).toBe(1);
    expect(answers.filter(({ justCreated }) => justCreated)).toHaveLength(1);
    expect(await upstream()).toEqual([answers[0]?.sessionId]);
    await Promise.all(exits);
    expect(await redis.keys('race:*')).toEqual([]);
  }, 120_000);

  it.each([new LockHeldError('session'), new LockUnavailableError('session')])(
    'answers what is stored by the time that the lock could not be had: $code',
    async (error) => {
      const { session, upstream } = await made();
      let winner: SessionRef | undefined;
      /** While it is waited for, somebody else mints. */
      const refusing: Lock = {
        run: async () => {
          winner = await session().ensure();
          throw error;
        },
      };
      const late = session({ lock: refusing });
      expect(await late.ensure()).toEqual(winner);
      expect(late.justCreated).toBe(false);
      const first = winner?.sessionId;
      const renewed: Lock = {
        run: async () => {
          winner = await session().recreate();
          throw error;
        },
      };
      expect(await session({ lock: renewed }).recreate()).toEqual(winner);
      expect(winner?.sessionId).not.toBe(first);
      expect(await upstream()).toHaveLength(2);
    },
  );

  it.each([new LockHeldError('session'), new LockUnavailableError('session')])(
    'mints nothing without the lock: $code',
    async (error) => {
      const { session, upstream } = await made();
      const refusing: Lock = { run: () => Promise.reject(error) };
      await expect(session({ lock: refusing }).ensure()).rejects.toBe(error);
      expect(await upstream()).toEqual([]);
      const { sessionId } = await session().ensure();
      await expect(session({ lock: refusing }).recreate()).rejects.toBe(error);
      expect(await upstream()).toEqual([sessionId]);
    },
  );

  it('asks for no lock when there is a session', async () => {
    const { session } = await made();
    const { sessionId } = await session().ensure();
    const refusing: Lock = { run: () => Promise.reject(new Error('no lock wanted')) };
    const again = session({ lock: refusing });
    expect(await again.ensure()).toMatchObject({ sessionId });
    expect(again.justCreated).toBe(false);
  });

  it('takes what its caller has just read for the first answer, and looks by itself for the next', async () => {
    const { session } = await made();
    const { sessionId } = await session().ensure();
    const known = { sessionId: 'ses_of_a_moment_ago', server: 'http://elsewhere.invalid' };
    const informed = session({ known });
    expect(await informed.ensure()).toEqual(known);
    expect(await informed.ensure()).toMatchObject({ sessionId });
  });

  it('lets one of two minters win when the lock failed; the loser deletes its own and answers the winner', async () => {
    const { session, upstream, conversationId } = await made();
    const two = [session({ lock: noLock }), session({ lock: noLock })];
    const [first, second] = await Promise.all(two.map((one) => one.ensure()));
    expect(first).toEqual(second);
    expect(two.filter(({ justCreated }) => justCreated)).toHaveLength(1);
    expect(await upstream()).toEqual([first?.sessionId]);
    expect((await store.session(conversationId)).sessionId).toBe(first?.sessionId);
  });
});

it('takes a fingerprint of rules away when another one is found than was seen, and leaves other sessions alone', async () => {
  const { session, conversationId } = await made();
  const { rules: seen, ...minted } = await session().ensure();
  const note = (before: string | undefined, rules: string, sessionId = minted.sessionId) =>
    store.noteRules(conversationId, before, { ...minted, sessionId, rules });
  const noted = async () => (await store.session(conversationId)).rules;
  await note(seen, 'of the later owner');
  expect(await noted()).toBe('of the later owner');
  // Frozen since before that, and awake now: nobody knows whose rules stand last upstream.
  await note(seen, 'of the earlier owner');
  expect(await noted()).toBeNull();
  await note(undefined, 'read again');
  expect(await noted()).toBe('read again');
  await note('read again', 'elsewhere', 'ses_of_before');
  expect(await noted()).toBe('read again');
});

describe('recreate', () => {
  it('makes one new session for two concurrent calls', async () => {
    const { session, upstream } = await made();
    const old = await session().ensure();
    const two = [session(), session()];
    const [first, second] = await Promise.all(two.map((one) => one.recreate()));
    expect(first).toEqual(second);
    expect(first?.sessionId).not.toBe(old.sessionId);
    expect(two.filter(({ justCreated }) => justCreated)).toHaveLength(1);
    expect((await upstream()).sort()).toEqual([old.sessionId, first?.sessionId].sort());
  });
});

describe('a mint that cannot be stored leaves no session upstream', () => {
  const failing = (swap: SessionStore['swap']): SessionStore => ({
    session: (id) => store.session(id),
    stored: (ids) => store.stored(ids),
    collection: store.collection,
    noteRules: (...args) => store.noteRules(...args),
    noteDirectory: (...args) => store.noteDirectory(...args),
    swap,
  });

  it.each([
    ['validation', new Error('validation failed')],
    ['E11000', new ConflictError('duplicate', ['opencodeSessionId'])],
    ['database gone', new ServiceUnavailableError('mongodb', 'gone')],
    ['conversation gone', new NotFoundError('conversation', 'x')],
  ])('when storing fails: %s', async (_name, error) => {
    const { session, upstream } = await made();
    await expect(session({ store: failing(() => Promise.reject(error)) }).ensure()).rejects.toBe(error);
    expect(await upstream()).toEqual([]);
  });

  it('when another conversation has the session id (a real unique index)', async () => {
    const [one, other] = [await made(), await made()];
    const taken = await one.session().ensure();
    const twin: OpenCode = {
      ...client,
      createSession: async (...args) => ({ ...(await client.createSession(...args)), id: taken.sessionId }),
    };
    const deleted: string[] = [];
    const counting = { ...twin, deleteSession: async (id: string) => deleted.push(id) > 0 };
    await expect(other.session({ client: counting }).ensure()).rejects.toMatchObject({
      code: 'conflict',
      keys: ['opencodeSessionId'],
    });
    // It is the other one's.
    expect(deleted).toEqual([]);
  });

  it('when the server has answered what it answered somebody else: that one is kept, ours is deleted', async () => {
    const [one, other] = [await made(), await made()];
    let first: WireSession | undefined;
    const cached: OpenCode = {
      ...client,
      createSession: async (...args) => {
        const answer = await client.createSession(...args);
        first ??= answer;
        return first;
      },
    };
    const { sessionId } = await one.session({ client: cached }).ensure();
    await expect(other.session({ client: cached }).ensure()).rejects.toBeInstanceOf(ForeignAnswerError);
    expect(await one.upstream()).toEqual([sessionId]);
    expect(await other.upstream()).toEqual([]);
    // Also before the first one has stored it.
    const late = await made();
    first = await client.createSession({ title: '', directory: late.directory, metadata: {} });
    await expect(late.session({ client: cached }).ensure()).rejects.toBeInstanceOf(ForeignAnswerError);
    expect((await client.sessions(late.directory)).map(({ id }) => id)).toEqual([first.id]);
  });

  it('when nobody can say whether it was stored: then it is kept, and the sweeper deletes it', async () => {
    const { session, upstream, conversationId } = await made();
    const gone = () => Promise.reject(new ServiceUnavailableError('mongodb', 'gone'));
    let reads = 0;
    const away: SessionStore = {
      ...failing(gone),
      session: (id) => {
        reads += 1;
        return reads > 2 ? gone() : store.session(id);
      },
      stored: gone,
    };
    await expect(session({ store: away }).ensure()).rejects.toBeInstanceOf(ServiceUnavailableError);
    expect(await upstream()).toHaveLength(1);
    const orphans = {
      servers: [upstreamOver(client)],
      sessions: store,
      lock,
      prefix: 'test',
      clock: systemClock,
      reporter,
    };
    await discardOrphans({ ...orphans, minAgeMs: 0 });
    expect(await upstream()).toEqual([]);
    expect((await store.session(conversationId)).sessionId).toBeNull();
  });

  it('when the compare-and-set is lost and the winner is there', async () => {
    const { session, upstream, conversationId } = await made();
    const winner = { sessionId: `ses_winner${conversationId}`, server: client.server };
    const losing = failing(async (id) => {
      await store.swap(id, null, winner);
      return false;
    });
    const loser = session({ store: losing });
    expect(await loser.ensure()).toEqual(winner);
    expect(loser.justCreated).toBe(false);
    expect(await upstream()).toEqual([]);
  });

  it('when the lock is lost in the middle of the mint', async () => {
    const { session, upstream } = await made();
    const controller = new AbortController();
    const losing: Lock = { run: (_key, fn) => fn(controller.signal) };
    const slow: OpenCode = {
      ...client,
      createSession: async (request) => {
        const created = await client.createSession(request);
        controller.abort(new LockLostError('session'));
        return created;
      },
    };
    await expect(session({ lock: losing, client: slow }).ensure()).rejects.toBeInstanceOf(LockLostError);
    expect(await upstream()).toEqual([]);
  });

  it('when the answer to the create is lost', async () => {
    const { session, upstream } = await made();
    const cut: OpenCode = {
      ...client,
      createSession: async (request) => {
        await client.createSession(request);
        return openCodeClient({ address: serverAddress('http://127.0.0.1:1') }).createSession(request);
      },
    };
    await expect(session({ client: cut }).ensure()).rejects.toMatchObject({ code: 'upstream_connection' });
    expect(await upstream()).toEqual([]);
  });

  it('when the server stays away for a moment after the create, and again before the delete', async () => {
    const { session, upstream } = await made();
    const nobody = openCodeClient({ address: serverAddress('http://127.0.0.1:1') });
    let calls = 0;
    /** Every other call finds nobody. */
    const flaky = () => {
      calls += 1;
      return calls % 2 === 1 ? nobody : client;
    };
    const away: OpenCode = {
      ...client,
      createSession: async (request) => {
        await client.createSession(request);
        return nobody.createSession(request);
      },
      sessions: (...args) => flaky().sessions(...args),
      deleteSession: (...args) => flaky().deleteSession(...args),
    };
    await expect(session({ client: away }).ensure()).rejects.toMatchObject({ code: 'upstream_connection' });
    expect(calls).toBe(4);
    expect(await upstream()).toEqual([]);
  });

  it('but keeps a session whose storing succeeded without anybody hearing it', async () => {
    const { session, upstream } = await made();
    const deaf = failing(async (...args) => {
      await store.swap(...args);
      throw new ServiceUnavailableError('mongodb', 'the answer was lost');
    });
    const one = session({ store: deaf });
    const { sessionId } = await one.ensure();
    expect(one.justCreated).toBe(true);
    expect(await upstream()).toEqual([sessionId]);
  });
});
