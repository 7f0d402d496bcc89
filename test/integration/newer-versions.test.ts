/** What a newer release has stored, met by the processes of this one: left alone, told, and nothing is in its way. */
import { afterAll, afterEach, beforeAll, expect, it } from '@jest/globals';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import mongoose from 'mongoose';
import { jobName, queueName, turnJobId, turnJobOptions } from '../../src/bullmq/turn-job.ts';
import type { RunningWorker, TurnEntry, Turns } from '../../src/index.ts';
import { streamKeys, TurnStream } from '../../src/redis/turn-stream.ts';
import { versions } from '../../src/turn/versions.ts';
import { eventStream } from '../../src/web/index.ts';
import { eventually } from '../support/eventually.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { followAll, newConversation } from '../support/turns.ts';

let system: TestSystem;
let turns: Turns;
let redis: Redis;
let queue: Queue;
let worker: RunningWorker | undefined;
beforeAll(async () => {
  system = await startSystem();
  turns = await system.connect();
  redis = new Redis(system.options.redis);
  const { prefix = '' } = system.options;
  queue = new Queue(queueName, { connection: redis, prefix });
}, 90_000);
afterEach(async () => {
  await worker?.stop(0);
  worker = undefined;
  system.reports.length = 0;
});
afterAll(async () => {
  await queue?.close();
  redis?.disconnect();
  await system?.stop();
});

const messages = () => turns.connection.collection('opencode_turns_messages');
const conversations = () => turns.connection.collection('opencode_turns_conversations');
const key = (id: string) => ({ _id: new mongoose.Types.ObjectId(id) });
const message = (id: string) => messages().findOne(key(id));
const job = async (id: string) => {
  const found = await queue.getJob(turnJobId(id));
  if (!found) throw new Error(`no job of turn ${id}`);
  return found;
};
/** The job came to a worker again and again, and is delayed. */
const leftTwice = (id: string) =>
  eventually(async () => {
    const { attemptsStarted, attemptsMade } = await job(id);
    expect(attemptsStarted).toBeGreaterThanOrEqual(2);
    expect(attemptsMade).toBe(0);
    expect(await (await job(id)).getState()).toBe('delayed');
  });
const work = async () => {
  worker = await turns.work({ policies: { default: system.policy }, sweeper: { everyMs: 300, minAgeMs: 1 } });
};
const told = () => system.reports.filter(({ error }) => codeOf(error) === 'newer_version');
const codeOf = (error: unknown) => (error as { code?: unknown }).code;
const entriesOf = (id: string) => streamKeys(system.options.prefix ?? '', id).stream;
function countPrompts(): () => number {
  const before = system.model.turnRequests.length;
  system.respond(() => ({ text: ['fine'] }));
  return () => system.model.turnRequests.length - before;
}

it('what is stored carries its version: messages, session data, entries and jobs', async () => {
  countPrompts();
  const conversation = await newConversation(turns);
  const { id } = await turns.enqueue({ conversation, text: 'hello' });
  expect((await job(id)).data).toEqual({ version: versions.job, turnId: id });
  await work();
  await followAll(turns, id);
  expect(await messages().countDocuments({ schemaVersion: 1 })).toBe(2);
  expect(await conversations().findOne(key(conversation))).toMatchObject({
    opencodeSessionVersion: versions.session,
  });
  const rows = await redis.xrange(entriesOf(id), '-', '+');
  expect(rows.length).toBeGreaterThan(2);
  for (const [, fields] of rows) expect(fields.slice(4)).toEqual(['v', String(versions.entry)]);
});

it('a turn of a newer version is left to a newer worker, told once, and refused to readers', async () => {
  const prompts = countPrompts();
  const conversation = await newConversation(turns);
  const { id } = await turns.enqueue({ conversation, text: 'of a newer release' });
  await messages().updateOne(key(id), { $set: { schemaVersion: versions.turn + 1, later: 'x' } });
  const before = await message(id);
  const next = await turns.enqueue({ conversation, text: 'behind it' });
  const other = await turns.enqueue({ conversation: await newConversation(turns), text: 'beside it' });
  await work();
  expect((await followAll(turns, other.id)).view.end).toMatchObject({ status: 'completed' });
  await leftTwice(id);
  const refused = { code: 'newer_version', kind: 'turn', id, found: versions.turn + 1, known: versions.turn };
  expect(told()).toEqual([
    { error: expect.objectContaining(refused), context: expect.objectContaining({ turnId: id }) },
  ]);
  await expect(turns.get(id)).rejects.toMatchObject(refused);
  await expect(followAll(turns, id)).rejects.toMatchObject(refused);
  await expect(eventStream(turns, id)).rejects.toMatchObject(refused);
  await expect(turns.cancel(id)).rejects.toMatchObject(refused);
  await expect(turns.answer(id, 'que_1', { kind: 'reject' })).rejects.toMatchObject(refused);
  expect(await message(id)).toEqual(before);
  expect(await turns.get(next.id)).toMatchObject({ status: 'pending', run: { epoch: 0 } });
  expect(prompts()).toBe(1);
  // Its worker comes.
  await messages().updateOne(key(id), { $set: { schemaVersion: 1 } });
  expect((await followAll(turns, id)).view.end).toMatchObject({ status: 'completed' });
  expect((await followAll(turns, next.id)).view.end).toMatchObject({ status: 'completed' });
  expect(await message(id)).toMatchObject({ later: 'x', run: { epoch: 1 } });
  expect(prompts()).toBe(3);
}, 90_000);

it('a turn whose conversation has session data of a newer version is claimed by nobody of ours', async () => {
  const prompts = countPrompts();
  const conversation = await newConversation(turns);
  const later = { opencodeSessionId: 'ses_later', opencodeSessionVersion: versions.session + 1, later: 'x' };
  await conversations().updateOne(key(conversation), { $set: later });
  const before = await conversations().findOne(key(conversation));
  const { id } = await turns.enqueue({ conversation, text: 'hello' });
  await work();
  await leftTwice(id);
  expect(told()).toMatchObject([{ error: { kind: 'session', id: conversation, found: 2, known: 1 } }]);
  expect(await turns.get(id)).toMatchObject({ status: 'pending', run: { epoch: 0 } });
  expect(await conversations().findOne(key(conversation))).toEqual(before);
  expect(prompts()).toBe(0);
}, 60_000);

it('session data that becomes newer behind a claim ends no turn: its job waits', async () => {
  const prompts = countPrompts();
  const conversation = await newConversation(turns);
  const raise = { $set: { opencodeSessionVersion: versions.session + 1 } };
  let raised = false;
  const directory = async () => {
    if (!raised) await conversations().updateOne(key(conversation), raise);
    raised = true;
    return system.policy.directory();
  };
  const { id } = await turns.enqueue({ conversation, text: 'hello' });
  worker = await turns.work({ policies: { default: { ...system.policy, directory } } });
  await leftTwice(id);
  expect(told()[0]).toMatchObject({ error: { kind: 'session', id: conversation } });
  expect(await turns.get(id)).toMatchObject({ status: 'pending', run: { epoch: 1 } });
  await conversations().updateOne(key(conversation), { $unset: { opencodeSessionVersion: 1 } });
  expect((await followAll(turns, id)).view.end).toMatchObject({ status: 'completed' });
  expect(prompts()).toBe(1);
}, 60_000);

it('an entry of a newer version is told to a follower, behind all that it can read', async () => {
  const { id } = await turns.enqueue({ conversation: await newConversation(turns), text: 'hello' });
  const { stream, meta } = streamKeys(system.options.prefix ?? '', id);
  const entry = JSON.stringify({ type: 'progress', progress: 'later' });
  await redis.xadd(stream, '2-0', 'e', entry, 'b', 1, 'v', versions.entry + 1, 'x', 'y');
  await redis.hset(meta, 'n', 2);
  const entries: TurnEntry[] = [];
  const reading = (async () => {
    for await (const each of turns.follow(id)) entries.push(each);
  })();
  const refused = {
    code: 'newer_version',
    kind: 'entry',
    id,
    found: versions.entry + 1,
    known: versions.entry,
  };
  await expect(reading).rejects.toMatchObject(refused);
  expect(entries).toMatchObject([{ type: 'progress', progress: 'queued' }]);
  // Whoever adopts the turn cannot say what followers hold: he tells it anew, in his own version.
  const publisher = new TurnStream({ redis, prefix: system.options.prefix ?? '' });
  expect(await publisher.open({ turnId: id, epoch: 1 })).toMatchObject({ view: null });
  expect(await turns.cancel(id)).toBe('cancelled');
});

it('a job with unknown fields is taken; one of a newer version is left, whatever else it says', async () => {
  const prompts = countPrompts();
  const { id } = await turns.enqueue({ conversation: await newConversation(turns), text: 'hello' });
  await (await job(id)).updateData({ version: versions.job, turnId: id, later: { a: [1] }, conversation: 7 });
  const left = await turns.enqueue({ conversation: await newConversation(turns), text: 'hello' });
  const newer = { version: versions.job + 1, turns: [left.id] };
  await (await job(left.id)).updateData(newer);
  await work();
  expect((await followAll(turns, id)).view.end).toMatchObject({ status: 'completed' });
  await leftTwice(left.id);
  expect(told()).toMatchObject([
    { error: { kind: 'job', id: turnJobId(left.id), found: versions.job + 1, known: versions.job } },
  ]);
  expect((await job(left.id)).data).toEqual(newer);
  expect(await turns.get(left.id)).toMatchObject({ status: 'pending', run: { epoch: 0 } });
  expect(prompts()).toBe(1);
  await (await job(left.id)).updateData({ turnId: left.id });
  expect((await followAll(turns, left.id)).view.end).toMatchObject({ status: 'completed' });
}, 60_000);

it('a job in a version that is none is refused, and not tried again', async () => {
  const { id } = await turns.enqueue({ conversation: await newConversation(turns), text: 'hello' });
  const bad = { version: 'two', turnId: id };
  const added = await queue.add(jobName, bad, { ...turnJobOptions, jobId: 'turn-bad' });
  worker = await turns.work({ policies: { default: system.policy } });
  await eventually(async () => expect(await added.getState()).toBe('failed'));
});
