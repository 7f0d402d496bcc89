import { afterAll, beforeAll, expect, it } from '@jest/globals';
import type { OpenRequest, Turns } from '../../src/index.ts';
import { eventually } from '../support/eventually.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { newConversation } from '../support/turns.ts';

/** The handle and the list over real Redis, the real OpenCode server, and a worker. */
let system: TestSystem;
let turns: Turns;

beforeAll(async () => {
  system = await startSystem();
  turns = await system.connect();
  const policies = { default: { ...system.policy, system: () => 'Ask first.' } };
  await turns.work({ policies });
}, 90_000);
afterAll(() => system.stop());

const options = [
  { label: 'Blue', description: 'b' },
  { label: 'Red', description: 'r' },
];
const questions = [{ question: 'Which color?', header: 'Color', options }];
const asks = { tools: [{ id: 'call_0', name: 'question', input: { questions } }] };

const waiting = async () => (await turns.list({ waitingForPeople: true })).turns.map(({ id }) => id);

async function asking() {
  system.respond(({ step }) => (step === 0 ? asks : { text: ['Blue it is.'] }));
  const conversation = turns.conversation(await newConversation(turns));
  const { id } = await conversation.enqueue({ text: 'Paint it' });
  const request = await eventually(async (): Promise<OpenRequest> => {
    const [open] = await conversation.waitingForPeople();
    if (!open) throw new Error('nothing was asked yet');
    return open;
  }, 30_000);
  expect(request).toMatchObject({ turnId: id, kind: 'question', state: 'open', details: { questions } });
  expect(await waiting()).toEqual([id]);
  return { conversation, id, request };
}

it('a question waits for people in the conversation and in the list until it is answered, and both show the end', async () => {
  const { conversation, id, request } = await asking();
  const [listed] = (await turns.list({ waitingForPeople: true })).turns;
  expect(listed).toMatchObject({ status: 'pending', progress: 'prompted', waitingForPeople: true });
  expect(listed?.run).toMatchObject({ epoch: 1, server: system.opencode.url, owner: expect.any(String) });
  expect(await turns.answer(id, request.requestId, { kind: 'question', answers: [['Blue']] })).toBe(true);
  expect([await conversation.waitingForPeople(), await waiting()]).toEqual([[], []]);
  const { promptedWith } = await turns.result(id);
  expect(promptedWith).toMatchObject({ system: 'Ask first.' });
  const { messages } = await conversation.messages();
  expect(messages.map(({ role, text }) => [role, text])).toEqual([
    ['user', 'Paint it'],
    ['assistant', 'Blue it is.'],
  ]);
  const [newest] = (await turns.list({ status: 'completed', policy: 'default', limit: 1 })).turns;
  expect(newest).toMatchObject({ id, status: 'completed', progress: 'finished', waitingForPeople: false });
}, 60_000);

it('a turn that is cancelled while it waits for people waits no longer', async () => {
  const { conversation, id } = await asking();
  await turns.cancel(id);
  await turns.result(id);
  expect([await conversation.waitingForPeople(), await waiting()]).toEqual([[], []]);
  expect((await turns.list({ status: 'cancelled', limit: 1 })).turns).toMatchObject([{ id }]);
}, 60_000);
