import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { Redis } from 'ioredis';
import mongoose, { type Model } from 'mongoose';
import { startRedis } from '../../dev/services/redis.ts';
import type { Service } from '../../dev/services/service.ts';
import { BadRequestError, SessionNotFoundError } from '../../src/errors.ts';
import { type MessageDoc, type TurnModels, turnModels } from '../../src/mongodb/models.ts';
import { MongoStopStore } from '../../src/mongodb/stop-store.ts';
import type { OpenCode } from '../../src/opencode/v1/server.ts';
import { openRedis } from '../../src/redis/connection.ts';
import { ConversationLock } from '../../src/redis/lock.ts';
import { sessionLock } from '../../src/session/session.ts';
import { retryStops, type StopDeps, takeOverStops } from '../../src/stop/open-stops.ts';
import { systemClock } from '../../src/timing/clock.ts';
import { startDatabase, type TestDatabase } from '../support/database.ts';
import { deferred } from '../support/deferred.ts';
import { upstreamOver } from '../support/upstream.ts';

const prefix = 'retry-stops';
const minutes = 60_000;
const reports: { error: unknown; action: string }[] = [];
const reporter = {
  report: (error: unknown, { action }: { action: string }) => void reports.push({ error, action }),
};
let database: TestDatabase;
let service: Service;
let redis: Redis;
let models: TurnModels;

beforeAll(async () => {
  [database, service] = await Promise.all([startDatabase(), startRedis(() => undefined)]);
  redis = await openRedis(service.url, 'commands', reporter);
  models = turnModels(database.connection);
}, 60_000);
afterAll(async () => {
  await redis?.quit();
  await Promise.all([service?.stop(), database?.stop()]);
});
beforeEach(async () => {
  reports.length = 0;
  await models.Message.deleteMany({});
});

/** What upstream does with an abort: the run goes on, is over and deleted, or never seen to begin. */
type Run = 'goes on' | 'is over' | 'has not begun';

interface Open {
  readonly turnId: string;
  readonly conversationId: string;
}

/** As turns have left them, each of a conversation and a session of its own; the first has waited longest. */
async function leave(
  count: number,
  more: Record<string, unknown> = {},
  message: object = {},
): Promise<Open[]> {
  const docs = Array.from({ length: count }, (_, at) => {
    const _id = new mongoose.Types.ObjectId();
    const stop = { sessionId: `ses_${_id}`, server: 's', directory: '/d', promptMessageId: `msg_${_id}` };
    return {
      _id,
      conversation: new mongoose.Types.ObjectId(),
      createdAt: new Date(),
      run: { openStops: [stop], stopTriedAt: at + 1, ...more },
      ...message,
    };
  });
  await models.Message.collection.insertMany(docs);
  return docs.map(({ _id, conversation }) => ({ turnId: String(_id), conversationId: String(conversation) }));
}

const leftOpen = () => models.Message.countDocuments({ 'run.stopTriedAt': mongoose.trusted({ $gt: 0 }) });

/** A sweeper; `aborted` has the turns whose runs it has aborted, in order. `costMs`: what each takes on its clock. */
function sweeper(now: Run | ((turnId: string) => Run), { costMs = 0, waitMs = 100 } = {}) {
  let ahead = 0;
  const clock = { ...systemClock, monotonicMs: () => systemClock.monotonicMs() + ahead };
  const aborted: string[] = [];
  const runOf = (sessionId: string) => (typeof now === 'string' ? now : now(sessionId.replace('ses_', '')));
  const facts = { method: 'POST', path: '/' };
  const client = {
    abortSession: async (sessionId: string) => {
      aborted.push(sessionId.replace('ses_', ''));
      ahead += costMs;
      if (runOf(sessionId) === 'goes on') throw new BadRequestError('refused', facts);
    },
    children: async () => [],
    statuses: async () => ({}),
    messages: async (sessionId: string) => {
      const run = runOf(sessionId);
      if (run === 'is over') throw new SessionNotFoundError('gone', facts);
      if (run === 'has not begun')
        return [
          { info: { id: sessionId.replace('ses', 'msg'), role: 'user', time: { created: 1 } }, parts: [] },
        ];
      throw new BadRequestError('refused', facts);
    },
  } as unknown as OpenCode;
  const deps: StopDeps = {
    stops: new MongoStopStore(models.Message as unknown as Model<MessageDoc>),
    lock: new ConversationLock({ redis, prefix, reporter, waitMs }),
    upstream: () => upstreamOver(client, { clock }),
    clock,
    reporter,
  };
  return { aborted, deps, sweep: () => retryStops(deps) };
}

const ids = (open: readonly Open[]) => open.map(({ turnId }) => turnId);

describe('more open stops than one sweep takes', () => {
  it('are all reached in turn while none of them ends', async () => {
    const open = await leave(45);
    const { aborted, sweep } = sweeper('goes on');
    const each: number[] = [];
    for (let sweeps = 0; sweeps < 3; sweeps += 1) {
      const before = aborted.length;
      expect(await sweep()).toBe(0);
      each.push(aborted.length - before);
    }
    // One sweep has an end, the next one goes on behind it, and nobody is tried twice before all were tried once.
    expect(each).toEqual([20, 20, 20]);
    expect(aborted.slice(0, 45)).toEqual(ids(open));
    expect(await leftOpen()).toBe(45);
  });

  it('are all closed once they are over', async () => {
    await leave(45);
    const { sweep } = sweeper('is over');
    expect([await sweep(), await sweep(), await sweep(), await sweep()]).toEqual([20, 20, 5, 0]);
    expect(await leftOpen()).toBe(0);
  });

  it('are reached in turn when each takes so long that the time of a sweep is over', async () => {
    const open = await leave(12);
    const { aborted, sweep } = sweeper('goes on', { costMs: 12_000 });
    for (let sweeps = 0; sweeps < 4; sweeps += 1) await sweep();
    expect(aborted).toEqual(ids(open));
  });
});

it('five hundred that cannot be made keep one behind them waiting for as many sweeps as they fill', async () => {
  const open = await leave(500);
  const [behind] = await leave(1, { stopTriedAt: 1_000 });
  const { aborted, sweep } = sweeper((turnId) => (turnId === behind?.turnId ? 'is over' : 'goes on'));
  for (let sweeps = 0; sweeps < 25; sweeps += 1) expect(await sweep()).toBe(0);
  expect(await sweep()).toBe(1);
  expect(aborted.slice(0, 501)).toEqual(ids([...open, behind as Open]));
  expect(await leftOpen()).toBe(500);
}, 60_000);

describe('those in front that cannot be tried keep nobody waiting', () => {
  it('because their conversations are locked', async () => {
    const locked = await leave(20);
    const [behind] = await leave(1, { stopTriedAt: 100 });
    const gate = deferred();
    const holder = new ConversationLock({ redis, prefix, reporter });
    const taken = locked.map(() => deferred());
    const held = locked.map(({ conversationId }, at) =>
      holder.run(sessionLock(conversationId), () => {
        taken[at]?.resolve();
        return gate.promise;
      }),
    );
    await Promise.all(taken.map(({ promise }) => promise));
    const { aborted, sweep } = sweeper('is over');
    await sweep();
    expect(aborted).toEqual([]);
    await sweep();
    expect(aborted).toEqual([behind?.turnId]);
    gate.resolve();
    await Promise.all(held);
    expect(await sweep()).toBe(20);
    expect(await leftOpen()).toBe(0);
    expect(reports).toEqual([]);
  });

  it.each([
    ['whoever closed the last one died before he was done', { openStops: [] }, 0],
    ['they are none that can be read', { openStops: [null] }, undefined],
  ])('because %s', async (_, damaged, openAfter) => {
    await leave(20, damaged);
    const [behind] = await leave(1, { stopTriedAt: 100 });
    const { aborted, sweep } = sweeper('is over');
    await sweep();
    await sweep();
    expect(aborted).toEqual([behind?.turnId]);
    if (openAfter !== undefined) expect(await leftOpen()).toBe(openAfter);
  });
});

it('one in the session of the next prompt is taken over, however many its conversation has in other sessions', async () => {
  const conversation = new mongoose.Types.ObjectId();
  const open = await leave(25, {}, { conversation });
  const { turnId } = open.at(-1) as Open;
  const { deps } = sweeper('goes on');
  const ended: string[] = [];
  const end = async ({ sessionId }: { sessionId: string }) => {
    ended.push(sessionId);
    return true;
  };
  const session = `ses_${turnId}`;
  expect(await takeOverStops(deps, String(conversation), session, end, new AbortController().signal)).toBe(
    true,
  );
  expect(ended).toEqual([session]);
  expect(await leftOpen()).toBe(24);
});

describe('a run that has not begun', () => {
  const agoMs = (ms: number) => new Date(Date.now() - ms);

  it.each([
    ['after its turn ended', {}, { createdAt: agoMs(60 * minutes), finishedAt: agoMs(11 * minutes) }],
    [
      'after its prompt, its turn going on',
      { promptedAt: Date.now() - 11 * minutes },
      { createdAt: agoMs(60 * minutes) },
    ],
  ])('will not ten minutes %s', async (_, run, message) => {
    await leave(1, run, message);
    expect(await sweeper('has not begun').sweep()).toBe(1);
    expect(await leftOpen()).toBe(0);
  });

  it('may still, however long its turn waited before it was prompted', async () => {
    await leave(1, { promptedAt: Date.now() - minutes }, { createdAt: agoMs(60 * minutes) });
    expect(await sweeper('has not begun').sweep()).toBe(0);
    expect(await leftOpen()).toBe(1);
  });
});
