/** People who change a conversation's queue while the agent works: on the real server, by its request log. */
import { afterAll, beforeAll, beforeEach, expect, it } from '@jest/globals';
import { NotFoundError, NotRetryableError, RevisionError, TurnStartedError } from '../../src/errors.ts';
import type { Conversation, TurnEntry, Turns } from '../../src/index.ts';
import { type Deferred, deferred } from '../support/deferred.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { concatenated, newConversation } from '../support/turns.ts';

let system: TestSystem;
let turns: Turns;
let conversation: Conversation;
let gate: Deferred<unknown>;

beforeAll(async () => {
  system = await startSystem();
  turns = await system.connect();
  await turns.work({ policies: { default: system.policy } });
}, 90_000);
afterAll(() => system.stop());
beforeEach(async () => {
  gate = deferred();
  system.respond(({ userText }) =>
    userText.includes('held')
      ? { text: ['some ', 'text'], gate: gate.promise, gateAt: 1 }
      : { text: [`answer to ${userText}`] },
  );
  conversation = turns.conversation(await newConversation(turns));
});

const enqueue = async (text: string, more: { onBusy?: 'interrupt'; idempotencyKey?: string } = {}) =>
  (await turns.enqueue({ conversation: conversation.id, text, ...more })).id;
/** Until its model has said something. */
async function streams(id: string): Promise<void> {
  const entries: TurnEntry[] = [];
  for await (const entry of turns.follow(id)) {
    entries.push(entry);
    if (concatenated(entries) !== '') return;
  }
}
/** A turn that runs until `gate` opens or somebody stops it, and turns that wait behind it. */
async function busy(...texts: string[]) {
  const running = await enqueue('held');
  await streams(running);
  const waiting: string[] = [];
  for (const text of texts) waiting.push(await enqueue(text));
  return { running, waiting: waiting as [string, string, string] };
}
/** What the model was asked since, in order, over all attempts. */
const asked = (from: number) => system.model.turnRequests.slice(from).map(({ userText }) => userText);
const allEnd = (ids: readonly string[]) => Promise.all(ids.map((id) => turns.result(id)));

it('edited, moved and dropped turns: the model is asked what they say at last, in their order', async () => {
  const { running, waiting } = await busy('a', 'b', 'c');
  const from = system.model.turnRequests.length;
  const [a, b, c] = waiting;
  expect(await conversation.edit(a, { text: 'new a', revision: 0 })).toEqual({ revision: 1 });
  await expect(conversation.edit(a, { text: 'x', revision: 0 })).rejects.toThrow(RevisionError);
  await conversation.move(c, 'first');
  await conversation.drop(b);
  await conversation.drop(b);
  const queue = await conversation.queue();
  expect(queue.running?.id).toBe(running);
  expect(queue.waiting.map(({ text }) => text)).toEqual(['c', 'new a']);
  for (const change of [
    conversation.edit(running, { text: 'late' }),
    conversation.move(running, 'last'),
    conversation.drop(running),
  ])
    await expect(change).rejects.toThrow(TurnStartedError);
  gate.resolve(undefined);
  const [first, third, second] = await allEnd([a, c, b]);
  expect(asked(from)).toEqual(['c', 'new a']);
  expect([first, third]).toMatchObject([{ status: 'completed', userText: 'new a' }, { status: 'completed' }]);
  expect(second).toMatchObject({ status: 'cancelled', run: { epoch: 0 } });
  const { messages } = await conversation.messages();
  expect(messages.map(({ text }) => text)).toContain('new a');
});

it('a turn that is sent now: what runs is stopped with its text, and this one is next', async () => {
  const { running, waiting } = await busy('a', 'b');
  const from = system.model.turnRequests.length;
  expect(await conversation.sendNow(waiting[1])).toEqual({ interrupted: running });
  const [stopped] = await allEnd([running, ...waiting.slice(0, 2)]);
  expect(stopped).toMatchObject({
    status: 'cancelled',
    text: 'some ',
    run: { interruptedBy: waiting[1] },
  });
  expect(asked(from)).toEqual(['b', 'a']);
});

it('a turn that interrupts when it is enqueued goes ahead of all that wait; the same call again is the same turn', async () => {
  const { running, waiting } = await busy('a');
  const from = system.model.turnRequests.length;
  const more = { onBusy: 'interrupt', idempotencyKey: 'urgent' } as const;
  const urgent = await enqueue('urgent', more);
  expect(await enqueue('urgent', more)).toBe(urgent);
  const [stopped] = await allEnd([running, urgent, waiting[0]]);
  expect(stopped).toMatchObject({ status: 'cancelled', run: { interruptedBy: urgent } });
  expect(asked(from)).toEqual(['urgent', 'a']);
});

it('an interrupt whose enqueuer died before it was carried out is carried out by the sweeper', async () => {
  const { running, waiting } = await busy('a');
  const from = system.model.turnRequests.length;
  const urgent = await enqueue('urgent');
  const key = { _id: new (await import('mongoose')).default.Types.ObjectId(urgent) };
  await turns.models.Message.collection.updateOne(key, { $set: { sendNow: 'due' } });
  const other = await system.connect();
  await other.work({ policies: { default: system.policy }, sweeper: { everyMs: 1_000, minAgeMs: 1_000 } });
  const [stopped] = await allEnd([running, urgent, waiting[0]]);
  expect(stopped).toMatchObject({ status: 'cancelled', run: { interruptedBy: urgent } });
  expect(asked(from)).toEqual(['urgent', 'a']);
  await other.close();
});

it('a stop holds: nothing that waits begins before the release, also what is enqueued later', async () => {
  const { running, waiting } = await busy('a');
  const from = system.model.turnRequests.length;
  expect(await conversation.stop({ by: 'ann' })).toEqual({ stopped: running });
  expect(await turns.result(running)).toMatchObject({ status: 'cancelled', text: 'some ' });
  const later = await enqueue('b');
  // Its job has come to the worker by then: a turn of another conversation that was enqueued after it has ended.
  const other = await turns.enqueue({ conversation: await newConversation(turns), text: 'elsewhere' });
  await turns.result(other.id);
  expect(await conversation.queue()).toMatchObject({
    waiting: [{ text: 'a' }, { text: 'b' }],
    hold: { by: 'ann' },
  });
  expect(asked(from)).toEqual(['elsewhere']);
  await conversation.release();
  await allEnd([waiting[0], later]);
  expect(asked(from)).toEqual(['elsewhere', 'a', 'b']);
});

it('a failed turn is retried once by two who ask at once, with its files', async () => {
  const files = [{ filename: 'a.txt', contentType: 'text/plain', content: Buffer.from('bytes') }];
  const { id } = await turns.enqueue({ conversation: conversation.id, text: 'held with a file', files });
  await streams(id);
  await expect(conversation.retry(id)).rejects.toThrow(NotRetryableError);
  await turns.cancel(id);
  await turns.result(id);
  gate.resolve(undefined);
  const [one, two] = await Promise.all([conversation.retry(id), conversation.retry(id)]);
  expect(one?.id).toBe(two?.id);
  const retried = await turns.result(one?.id ?? '');
  expect(retried).toMatchObject({ status: 'completed', retryOf: id, userText: 'held with a file' });
  expect(retried.uploads).toMatchObject([{ filename: 'a.txt', bytes: 5 }]);
  await expect(conversation.retry(retried.id)).rejects.toThrow(NotRetryableError);
});

it('a retry that was dropped is out of the way of the next one', async () => {
  const { running, waiting } = await busy('a');
  await conversation.drop(waiting[0]);
  const first = await conversation.retry(waiting[0]);
  await conversation.drop(first.id);
  const second = await conversation.retry(waiting[0]);
  expect(second.id).not.toBe(first.id);
  gate.resolve(undefined);
  expect(await turns.result(second.id)).toMatchObject({ status: 'completed', retryOf: waiting[0] });
  await turns.result(running);
});

it('a turn of another conversation is none of this one', async () => {
  const { running, waiting } = await busy('a');
  const other = turns.conversation(await newConversation(turns));
  for (const change of [
    other.edit(waiting[0], { text: 'x' }),
    other.drop(waiting[0]),
    other.move(waiting[0], 'first'),
    other.sendNow(waiting[0]),
    other.retry(running),
  ])
    await expect(change).rejects.toThrow(NotFoundError);
  gate.resolve(undefined);
  await allEnd([running, waiting[0]]);
});

it('what makes no sense is refused by name', async () => {
  const id = '0123456789abcdef01234567';
  const refused = (change: Promise<unknown>, field: string) =>
    expect(change).rejects.toMatchObject({ code: 'invalid_input', field });
  await refused(conversation.edit(id, { text: '' }), 'text');
  await refused(conversation.edit(id, { text: 'x', revison: 1 } as never), 'revison');
  await refused(conversation.edit('nope', { text: 'x' }), 'turnId');
  await refused(conversation.move(id, 'middle' as never), 'place');
  await refused(conversation.move(id, { before: id }), 'place.before');
  await refused(conversation.move(id, { after: { $ne: null } as never }), 'turnId');
  await refused(conversation.hold({ by: '' }), 'by');
  await refused(
    turns.enqueue({ conversation: conversation.id, text: 'x', onBusy: 'rollback' as never }),
    'onBusy',
  );
});
