import { afterAll, beforeAll, expect, it } from '@jest/globals';
import mongoose from 'mongoose';
import type { StoredTurn, Turns } from '../../src/index.ts';
import { deferred } from '../support/deferred.ts';
import { eventually } from '../support/eventually.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { followAll, newConversation } from '../support/turns.ts';

let system: TestSystem;

beforeAll(async () => {
  system = await startSystem();
}, 90_000);
afterAll(() => system.stop());

const gone = { status: 'error', error: { reason: 'conversation_gone' } };
const deployment = (name: string) => ({
  prefix: `${system.options.prefix}-${name}`,
  mongo: system.database(name),
});
const remove = (turns: Turns, conversation: string) =>
  turns.models.Conversation.deleteOne({ _id: conversation });

it('turns without a conversation, however many and old, keep nobody from a job, and end', async () => {
  const turns = await system.connect(deployment('many'));
  const count = 510;
  const id = () => new mongoose.Types.ObjectId();
  const orphans = Array.from({ length: count }, (_, at) => ({
    _id: id(),
    counterpart: id(),
    conversation: id(),
    sequence: 2,
    policy: 'default',
    role: 'assistant',
    status: 'pending',
    text: '',
    reasoning: '',
    parts: '[]',
    requests: [],
    artifacts: [],
    run: { phase: 'queued', epoch: 0, reruns: 0, resends: 0 },
    createdAt: new Date(Date.now() - 3_600_000 + (at % 7)),
  }));
  await turns.models.Message.collection.insertMany(orphans as never);
  const conversation = await newConversation(turns);
  const turn = await turns.enqueue({ conversation, text: 'young' });
  // Its enqueuer died before it had added the job.
  const { queue } = await import('bullmq').then(({ Queue }) => {
    const url = new URL(system.options.redis);
    const connection = { host: url.hostname, port: Number(url.port) };
    return { queue: new Queue('turns', { connection, prefix: `${system.options.prefix}-many` }) };
  });
  expect(await queue.remove(`turn-${turn.id}`)).toBe(1);
  system.respond(() => ({ text: ['came'] }));
  await turns.work({
    policies: { default: system.policy },
    sweeper: { everyMs: 500, minAgeMs: 0 },
  });
  await eventually(
    async () => expect(await turns.get(turn.id)).toMatchObject({ status: 'completed', text: 'came' }),
    120_000,
  );
  const pending = () => turns.models.Message.countDocuments({ status: 'pending' });
  await eventually(async () => expect(await pending()).toBe(0), 120_000);
  expect(await turns.get(String(orphans[0]?._id))).toMatchObject(gone);
  await eventually(async () =>
    expect(await queue.getJobCountByTypes('waiting', 'delayed', 'active')).toBe(0),
  );
  await queue.close();
}, 250_000);

it('a turn whose conversation is deleted while it waits ends, its followers too, and nothing is asked', async () => {
  const turns = await system.connect(deployment('waits'));
  const opened = deferred();
  system.respond(() => ({ text: ['first ', 'answer'], gate: opened.promise, gateAt: 1 }));
  await turns.work({ policies: { default: system.policy } });
  const conversation = await newConversation(turns);
  const first = await turns.enqueue({ conversation, text: 'one' });
  for await (const entry of turns.follow(first.id)) if (entry.type === 'part') break;
  const waiting = await turns.enqueue({ conversation, text: 'two' });
  const followed = followAll(turns, waiting.id);
  const asked = system.model.turnRequests.length;
  await remove(turns, conversation);
  opened.resolve(undefined);
  const { view } = await followed;
  expect(view.end).toMatchObject(gone);
  expect(await turns.get(waiting.id)).toMatchObject({ ...gone, run: { phase: 'finished' } });
  // The one that ran had its conversation when it began, and ends as it does.
  expect(await turns.get(first.id)).toMatchObject({ status: 'completed', text: 'first answer' });
  expect(system.model.turnRequests.length).toBe(asked);
}, 90_000);

it('a turn whose worker and conversation are gone is ended, and its run is aborted upstream', async () => {
  const turns = await system.connect(deployment('both'));
  system.respond(() => ({ text: ['some ', 'text'], ending: 'hang' }));
  const policies = { default: system.policy };
  const worker = await turns.work({ policies, lockMs: 1_500, stalledCheckMs: 500 });
  const conversation = await newConversation(turns);
  const { id } = await turns.enqueue({ conversation, text: 'go' });
  for await (const entry of turns.follow(id)) if (entry.type === 'part' || entry.type === 'text') break;
  await worker.stop(0);
  expect(await turns.get(id)).toMatchObject({ status: 'pending' } satisfies Partial<StoredTurn>);
  await remove(turns, conversation);
  await turns.work({ policies });
  const { view } = await followAll(turns, id);
  expect(view).toMatchObject({ status: 'error', end: gone });
  await eventually(() => expect(system.model.turnRequests.at(-1)?.outcome).toBe('aborted'));
}, 90_000);
