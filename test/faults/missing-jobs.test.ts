import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Queue } from 'bullmq';
import { turnJobId } from '../../src/bullmq/turn-job.ts';
import type { StoredTurn, Turns } from '../../src/index.ts';
import { serverAddress } from '../../src/opencode/address.ts';
import { openCodeClient } from '../../src/opencode/v1/client.ts';
import type { OpenCode } from '../../src/opencode/v1/server.ts';
import { eventually } from '../support/eventually.ts';
import { type RedisCommand, RedisReplyProxy } from '../support/redis-reply-proxy.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { newConversation } from '../support/turns.ts';
import { redisLabel } from './reply-answers.ts';
import { redisReplies } from './reply-table.ts';

let system: TestSystem;
let queue: Queue;
let client: OpenCode;
/** Has no proxy, and works on nothing. */
let judge: Turns;
/** In front of those who enqueue, and of the worker, which sweeps. */
let web: RedisReplyProxy;
let own: RedisReplyProxy;

beforeAll(async () => {
  system = await startSystem();
  const { redis, opencode, options } = system;
  judge = await system.connect();
  web = await RedisReplyProxy.start(options.redis);
  own = await RedisReplyProxy.start(options.redis);
  client = openCodeClient({ address: serverAddress(opencode.url, undefined, opencode.password) });
  queue = new Queue('turns', { connection: { url: redis.url }, prefix: options.prefix ?? '' });
  system.respond(({ userText }) => ({ text: [`answer to ${userText}`] }));
}, 90_000);
afterAll(async () => {
  await queue.close();
  await system.stop();
  await Promise.all([web, own].map((proxy) => proxy.stop()));
});

/** BullMQ's script that adds a job, which alone of those of an enqueue names it. */
const addsJob = (command: RedisCommand, jobId = '') =>
  / add(Standard|Delayed)Job turns:/.test(redisLabel(command)) &&
  command.args.some((arg) => arg.includes(jobId));

interface Enqueued {
  readonly turn: StoredTurn;
  readonly text: string;
}

/**
 * As an application enqueues whose Redis answers that to the job's add: the turn is stored and told as accepted. By a
 * connection of its own: one that is told of a replica is opened anew.
 */
async function refused(text: string, reply: string, existing?: string, executed = false): Promise<Enqueued> {
  const conversation = existing ?? (await newConversation(judge));
  const app = await system.connect({ redis: web.url });
  const rule = web.replace({ at: (command) => addsJob(command), executed, reply });
  const turn = await app.enqueue({ conversation, text });
  await app.close();
  web.clear();
  expect(rule.hits).toHaveLength(1);
  expect(turn).toMatchObject({ status: 'pending', run: { epoch: 0 } });
  return { turn, text };
}

const jobOf = (turn: StoredTurn) => queue.getJob(turnJobId(turn.id));
const reportsOf = (turn: StoredTurn, action: string) =>
  system.reports.filter(({ context }) => context.turnId === turn.id && context.action === action);

/** Completed by its one owner with its one prompt. */
async function expectRunOnce({ turn, text }: Enqueued): Promise<StoredTurn> {
  const stored = await eventually(async () => {
    const found = await judge.get(turn.id);
    expect(found?.status).toBe('completed');
    return found as StoredTurn;
  }, 40_000);
  expect(stored).toMatchObject({ text: `answer to ${text}`, run: { epoch: 1, resends: 0, reruns: 0 } });
  const prompts = (await client.messages(stored.run.sessionId ?? '')).filter(
    ({ info, parts }) =>
      info.role === 'user' && parts.some((part) => part.type === 'text' && part.text === text),
  );
  expect(prompts.map(({ info }) => info.id)).toEqual([stored.run.promptMessageId]);
  return stored;
}

describe('a turn whose job Redis refused', () => {
  const replies: Readonly<Record<string, string>> = { ...redisReplies, ERR: 'ERR Error running script' };
  const lost = new Map<string, Enqueued>();
  let heard: Enqueued;
  let behind: readonly Enqueued[];

  it('is accepted, stays pending without a job, and says so to whoever operates it', async () => {
    for (const [code, reply] of Object.entries(replies))
      lost.set(code, await refused(`refused ${code}`, reply));
    const conversation = await newConversation(judge);
    behind = [
      await refused('first of two', replies.CLUSTERDOWN as string, conversation),
      await refused('second of two', replies.CLUSTERDOWN as string, conversation),
    ];
    // From here on Redis knows the script: what is executed unheard is the add itself.
    await judge.enqueue({ conversation: await newConversation(judge), text: 'undisturbed' });
    heard = await refused('added unheard', replies.CLUSTERDOWN as string, undefined, true);
    for (const { turn } of [...lost.values(), ...behind]) {
      expect(await jobOf(turn)).toBeUndefined();
      expect(await judge.get(turn.id)).toMatchObject({
        status: 'pending',
        run: { epoch: 0, phase: 'queued' },
      });
      expect(reportsOf(turn, 'turn.enqueue')).toHaveLength(1);
    }
    expect(await jobOf(heard.turn)).toBeDefined();
  });

  it('gets it from the sweeper, also when Redis refuses the sweeper once', async () => {
    const { turn } = lost.get('CLUSTERDOWN') as Enqueued;
    const again = own.replace({
      at: (command) => addsJob(command, turnJobId(turn.id)),
      executed: false,
      reply: replies.CLUSTERDOWN as string,
    });
    const worker = await system.connect({ redis: own.url });
    await worker.work({
      policies: { default: system.policy },
      concurrency: 4,
      sweeper: { everyMs: 300, minAgeMs: 0 },
    });
    await eventually(() => expect(reportsOf(turn, 'sweeper.turn')).toHaveLength(1));
    expect(again.hits).toHaveLength(1);
  }, 60_000);

  it.each(Object.keys(replies))('with %s, and runs once', async (code) => {
    await expectRunOnce(lost.get(code) as Enqueued);
  });

  it('in the order of its conversation', async () => {
    const [first, second] = await Promise.all(behind.map(expectRunOnce));
    expect(first?.finishedAt).toBeLessThanOrEqual(second?.run.promptedAt ?? 0);
    expect(second?.run.sessionId).toBe(first?.run.sessionId);
  });

  it('and so does one whose job was added, and only the answer was an error', async () => {
    await expectRunOnce(heard);
  });
});
