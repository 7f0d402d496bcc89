import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type InputRequest, InvalidInputError, type TurnPolicy, type Turns } from '../../src/index.ts';
import { eventually } from '../support/eventually.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { newConversation } from '../support/turns.ts';
import { type EventWire, startUpstreamProxy, type UpstreamProxy } from '../support/upstream-proxy.ts';

let system: TestSystem;
let proxy: UpstreamProxy;
let turns: Turns;
let wires: EventWire[] = [];

beforeAll(async () => {
  system = await startSystem();
  proxy = await startUpstreamProxy(system.opencode.url);
  const { password } = system.opencode;
  turns = await system.connect({ opencode: { url: proxy.url, ...(password ? { password } : {}) } });
  const permissions = [{ permission: 'bash', pattern: '*', action: 'ask' as const }];
  const policies: Record<string, TurnPolicy> = {
    default: system.policy,
    ask: { ...system.policy, permissions },
  };
  await turns.work({ policies });
  proxy.spoil(system.policy.directory(), (wire) => {
    wires.push(wire);
    return (frame) => wire.send(frame);
  });
}, 90_000);
afterAll(async () => {
  await system.stop();
  await proxy.stop();
});

const question = (text: string, more: object = {}) => ({
  question: text,
  header: 'Color',
  options: [
    { label: 'Blue', description: 'b' },
    { label: 'Red', description: 'r' },
  ],
  ...more,
});
const asks = (...questions: object[]) => ({
  tools: [{ id: 'call_0', name: 'question', input: { questions } }],
});
const bash = { tools: [{ id: 'call_0', name: 'bash', input: { command: 'echo x', description: 'test' } }] };

async function start(policy = 'default') {
  const { id } = await turns.enqueue({ conversation: await newConversation(turns), text: 'go', policy });
  const stored = async () => {
    const turn = await turns.get(id);
    if (!turn) throw new Error('no turn');
    return turn;
  };
  const asked = (count: number): Promise<InputRequest> =>
    eventually(async () => {
      const prompt = (await stored()).requests[count - 1];
      if (prompt?.state !== 'open') throw new Error(`prompt ${count} is not open`);
      return prompt;
    });
  const completed = (text: string) =>
    eventually(async () => expect(await stored()).toMatchObject({ status: 'completed', text }), 20_000);
  return { id, stored, asked, completed };
}

/** The stream breaks, and what may have been missed is read from upstream. */
async function readAgain(): Promise<void> {
  const before = proxy.requests.length;
  for (const wire of wires) wire.cut();
  wires = [];
  const read = () => proxy.requests.slice(before).filter(({ path }) => path === '/permission');
  await eventually(() => expect(read()).not.toEqual([]));
}

const yes = { kind: 'question', answers: [['Blue']] } as const;

describe('a provider that gives the same tool call id in every step', () => {
  it('has each question asked and answered', async () => {
    system.respond(({ step }) => (step < 2 ? asks(question(`color ${step}?`)) : { text: ['done'] }));
    const turn = await start();
    const first = await turn.asked(1);
    expect(await turns.answer(turn.id, first.requestId, yes)).toBe(true);
    const second = await turn.asked(2);
    await readAgain();
    expect((await turn.stored()).requests.map(({ state }) => state)).toEqual(['answered', 'open']);
    expect(await turns.answer(turn.id, second.requestId, yes)).toBe(true);
    await turn.completed('done');
    const { requests, parts } = await turn.stored();
    expect(requests.map(({ state }) => state)).toEqual(['answered', 'answered']);
    // Each prompt leads to its own call, which shows its own question.
    const calls = parts.flatMap((part) => (part.type === 'tool' ? [part] : []));
    expect(calls.map(({ callId }) => callId)).toEqual(['call_0', 'call_0']);
    expect(requests.map(({ messageId }) => messageId)).toEqual(calls.map(({ messageId }) => messageId));
    expect(calls.map(({ input }) => input.questions)).toMatchObject([
      [{ question: 'color 0?' }],
      [{ question: 'color 1?' }],
    ]);
  });

  it('has each permission asked and answered', async () => {
    system.respond(({ step }) => (step < 2 ? bash : { text: ['ran'] }));
    const turn = await start('ask');
    const once = { kind: 'permission', reply: 'once' } as const;
    expect(await turns.answer(turn.id, (await turn.asked(1)).requestId, once)).toBe(true);
    const second = await turn.asked(2);
    await readAgain();
    expect(await turns.answer(turn.id, second.requestId, once)).toBe(true);
    await turn.completed('ran');
  });
});

describe('an answer that does not fit what was asked', () => {
  it.each([
    ['a permission for a question', { kind: 'permission', reply: 'once' }, 'answer.kind'],
    ['too few answers', { kind: 'question', answers: [['Blue']] }, 'answer.answers'],
    ['too many answers', { kind: 'question', answers: [['Blue'], ['x'], ['y']] }, 'answer.answers'],
    [
      'two options where one is asked',
      { kind: 'question', answers: [['Blue', 'Red'], ['x']] },
      'answer.answers.0',
    ],
    ['the same option twice', { kind: 'question', answers: [['Blue'], ['Red', 'Red']] }, 'answer.answers.1'],
    [
      'a text longer than a person writes',
      { kind: 'question', answers: [['Blue'], ['x'.repeat(10_001)]] },
      'answer.answers.1.0',
    ],
    [
      'more text in all than one answer may have',
      {
        kind: 'question',
        answers: [['Blue'], Array.from({ length: 50 }, (_, at) => `${at}${'x'.repeat(9_000)}`)],
      },
      'answer',
    ],
  ])('%s: is refused, nothing is stored, and the right one is taken', async (_name, wrong, field) => {
    const exactly = question('which?');
    const freely = question('and more?', { multiple: true });
    system.respond(({ step }) => (step === 0 ? asks(exactly, freely) : { text: ['done'] }));
    const turn = await start();
    const { requestId } = await turn.asked(1);
    const refused = await turns.answer(turn.id, requestId, wrong as never).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(InvalidInputError);
    expect(refused).toMatchObject({ code: 'invalid_input', field });
    expect((await turn.stored()).requests).toMatchObject([{ requestId, state: 'open' }]);
    expect((await turn.stored()).requests[0]?.answer).toBeUndefined();
    const right = { kind: 'question', answers: [['Red'], ['Blue', 'of my own']] } as const;
    expect(await turns.answer(turn.id, requestId, right)).toBe(true);
    await turn.completed('done');
  });

  it('an answer to a question for a permission is refused, and the right one is taken', async () => {
    system.respond(({ step }) => (step === 0 ? bash : { text: ['ran'] }));
    const turn = await start('ask');
    const { requestId } = await turn.asked(1);
    await expect(turns.answer(turn.id, requestId, yes)).rejects.toMatchObject({ field: 'answer.kind' });
    expect((await turn.stored()).requests[0]?.answer).toBeUndefined();
    expect(await turns.answer(turn.id, requestId, { kind: 'permission', reply: 'once' })).toBe(true);
    await turn.completed('ran');
  });

  it.each([
    ['is of another kind', { kind: 'permission', reply: 'once' }, 'invalid_input'],
    ['upstream refuses', { kind: 'question', answers: [[5]] }, 'upstream_bad_request'],
  ])(
    'that %s, and is stored all the same, hangs nothing: nobody has answered',
    async (_name, wrong, code) => {
      system.respond(({ step }) => (step === 0 ? asks(question('which?')) : { text: ['went on'] }));
      const turn = await start();
      const { requestId } = await turn.asked(1);
      const before = proxy.requests.length;
      // Stored by somebody who checks less than `answer` does.
      const answered = { $set: { 'requests.0.answer': JSON.stringify(wrong) } };
      await turns.models.Message.collection.updateOne({ 'requests.requestId': requestId }, answered);
      await eventually(async () => {
        const { status, requests } = await turn.stored();
        expect([status, requests[0]?.state]).toEqual(['completed', 'rejected']);
      }, 30_000);
      const context = expect.objectContaining({ action: 'turn.answer', turnId: turn.id });
      expect(system.reports).toContainEqual({ error: expect.objectContaining({ code }), context });
      const sent = proxy.requests.slice(before).filter(({ method }) => method === 'POST');
      expect(sent.length).toBeLessThanOrEqual(2);
    },
  );
});

it('of two hundred answers to one question at once, from two objects, one is taken, and it is the one that counts', async () => {
  const other = await system.connect();
  let heard = '';
  system.respond(({ step, messages }) => {
    if (step > 0) heard = JSON.stringify(messages);
    return step === 0 ? asks(question('color?', { custom: true })) : { text: ['done'] };
  });
  const turn = await start();
  const { requestId } = await turn.asked(1);
  const taken = await Promise.all(
    Array.from({ length: 200 }, (_, at) =>
      (at % 2 === 0 ? turns : other).answer(turn.id, requestId, {
        kind: 'question',
        answers: [[`mine is ${at}.`]],
      }),
    ),
  );
  const winners = taken.flatMap((one, at) => (one ? [at] : []));
  expect(winners).toHaveLength(1);
  await turn.completed('done');
  expect((await turn.stored()).requests).toMatchObject([{ state: 'answered' }]);
  expect(heard).toContain(`mine is ${winners[0]}.`);
  await other.close();
});
