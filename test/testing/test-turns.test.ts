import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, describe, expect, it } from '@jest/globals';
import { IllegalStateError, InvalidInputError, NotFoundError, TurnBusyError } from '../../src/errors.ts';
import {
  type ConversationIdType,
  manualClock,
  scriptedUpstream,
  type TestTurns,
  type TestTurnsOptions,
  testTurns,
  waitForRequest,
  waitForTurn,
} from '../../src/testing/index.ts';
import { deferred } from '../support/deferred.ts';
import { followAll } from '../support/turns.ts';

let test: TestTurns;
afterEach(() => test?.close());

const start = async (options: Partial<TestTurnsOptions> = {}) => {
  test = await testTurns({ upstream: scriptedUpstream('Paris.'), policies: { default: {} }, ...options });
  return test.turns;
};
const ask = (text = 'The capital of France?', more = {}) =>
  test.turns.enqueue({ conversation: test.conversation(), text, ...more });

describe('a turn without any server', () => {
  it('is queued, run, followed and stored', async () => {
    const turns = await start();
    const { id } = await ask();
    const { view, entries } = await followAll(turns, id);
    expect(view).toMatchObject({ status: 'completed', parts: [{ type: 'text', text: 'Paris.' }] });
    expect(entries[0]).toMatchObject({ type: 'progress', progress: 'queued' });
    expect(await turns.get(id)).toMatchObject({
      status: 'completed',
      text: 'Paris.',
      userText: 'The capital of France?',
    });
    await test.settled();
    expect(test.reports).toEqual([]);
  });

  it('is so on a clock that stands still', async () => {
    const turns = await start({ clock: manualClock() });
    expect(await waitForTurn(turns, (await ask()).id)).toMatchObject({ status: 'completed', text: 'Paris.' });
  });

  it('goes on in the same session, and has the policy in its prompt', async () => {
    const upstream = scriptedUpstream((agent, { text }) => agent.says(`You said ${text}.`));
    const policy = { model: 'a/b', agent: 'build', system: () => 'Be kind.' };
    const turns = await start({ upstream, policies: { default: policy } });
    const conversation = test.conversation({ title: 'Trip' });
    const [one, two] = [
      await turns.enqueue({ conversation, text: 'one' }),
      await turns.enqueue({ conversation, text: 'two' }),
    ];
    expect([(await waitForTurn(turns, one.id)).text, (await waitForTurn(turns, two.id)).text]).toEqual([
      'You said one.',
      'You said two.',
    ]);
    expect(upstream.prompts).toMatchObject([
      { text: 'one', model: 'a/b', agent: 'build', system: 'Be kind.' },
      { text: 'two', sessionId: upstream.prompts[0]?.sessionId },
    ]);
  });

  it('has files both ways', async () => {
    const upstream = scriptedUpstream(async (agent, { directory }) => {
      const given = await readFile(path.join(directory, 'in.txt'), 'utf8');
      await agent.writes('out/report.md', `# ${given}`);
      agent.says('Done.');
    });
    const turns = await start({ upstream });
    const files = [{ filename: 'in.txt', contentType: 'text/plain', content: Buffer.from('hello') }];
    const turn = await waitForTurn(turns, (await ask('Report.', { files })).id);
    expect(turn).toMatchObject({
      text: 'Done.',
      status: 'completed',
      artifacts: [{ filename: 'report.md' }],
    });
    const chunks = [];
    for await (const chunk of turns.files.read(turn.artifacts[0]?.fileId ?? '')) chunks.push(chunk);
    expect(Buffer.concat(chunks).toString()).toBe('# hello');
  });

  it('asks, and goes on with what was answered', async () => {
    const upstream = scriptedUpstream(async (agent) => {
      const [[color] = []] = await agent.asks({ question: 'Which color?', options: ['Red', 'Blue'] });
      agent.says(`${color} it is.`);
    });
    const turns = await start({ upstream, clock: manualClock() });
    const { id } = await ask();
    const { requestId, kind } = await waitForRequest(turns, id);
    expect(kind).toBe('question');
    await expect(turns.answer(id, requestId, { kind: 'question', answers: [['Green']] })).resolves.toBe(true);
    expect(await waitForTurn(turns, id)).toMatchObject({
      text: 'Green it is.',
      requests: [{ state: 'answered' }],
    });
  });

  it('a question that nobody answers in time is rejected, as the policy has it', async () => {
    const clock = manualClock();
    const upstream = scriptedUpstream(async (agent) => {
      await agent.asks({ question: 'Which color?', options: ['Red'] });
      agent.says('never');
    });
    const limits = { inputTimeoutMs: 60_000 };
    const turns = await start({ upstream, clock, policies: { default: { limits } } });
    const { id } = await ask();
    await waitForRequest(turns, id);
    await clock.advance(59_000);
    expect(await turns.get(id)).toMatchObject({ status: 'pending' });
    await clock.advance(2_000);
    expect(await waitForTurn(turns, id)).toMatchObject({
      status: 'completed',
      text: '',
      requests: [{ state: 'rejected' }],
    });
  });

  it.each([
    ['allow', [], true],
    ['ask', [{ kind: 'permission', reply: 'once' }], true],
    ['ask', [{ kind: 'permission', reply: 'reject', message: 'no' }], false],
    ['deny', [], false],
  ] as const)('has its tools under the rules of the policy (%s %j)', async (action, answers, ran) => {
    const upstream = scriptedUpstream(async (agent) => {
      const done = await agent.uses('bash', { input: { command: 'ls' }, output: 'a.txt' });
      agent.says(String(done));
    });
    const permissions = [{ permission: 'bash', pattern: '*', action }];
    const turns = await start({ upstream, policies: { default: { permissions } } });
    const { id } = await ask();
    for (const answer of answers) await turns.answer(id, (await waitForRequest(turns, id)).requestId, answer);
    const turn = await waitForTurn(turns, id);
    expect(turn).toMatchObject({ status: 'completed', text: String(ran) });
    expect(turn.parts[0]).toMatchObject({ type: 'tool', tool: 'bash', status: ran ? 'completed' : 'error' });
    expect(test.reports).toEqual([]);
  });

  it('a permission that a person refuses ends the run', async () => {
    const upstream = scriptedUpstream(async (agent) => {
      await agent.uses('bash', { input: { command: 'rm -r x' } });
      agent.says('never');
    });
    const permissions = [{ permission: '*', pattern: '*', action: 'ask' }] as const;
    const turns = await start({ upstream, policies: { default: { permissions } } });
    const { id } = await ask();
    await turns.answer(id, (await waitForRequest(turns, id)).requestId, {
      kind: 'permission',
      reply: 'reject',
    });
    expect(await waitForTurn(turns, id)).toMatchObject({
      status: 'completed',
      text: '',
      requests: [{ state: 'rejected' }],
    });
  });

  it('is cancelled while it runs, and keeps what was said', async () => {
    let aborted = false;
    const upstream = scriptedUpstream(async (agent) => {
      agent.says('some ');
      agent.signal.addEventListener('abort', () => {
        aborted = true;
      });
      await agent.hangs();
    });
    const turns = await start({ upstream, clock: manualClock() });
    const { id } = await ask();
    for await (const entry of turns.follow(id)) if (entry.type === 'part') break;
    expect(await turns.cancel(id)).toBe('requested');
    expect(await waitForTurn(turns, id)).toMatchObject({ status: 'cancelled', text: 'some ' });
    expect(aborted).toBe(true);
  });

  it('is cancelled while it waits, told to the policy once, and nothing is asked', async () => {
    const gate = deferred();
    const upstream = scriptedUpstream(async (agent, { text }) => {
      await gate.promise;
      agent.says(text);
    });
    const told: string[] = [];
    const onTurnFinished = ({ turnId, status }: { turnId: string; status: string }) =>
      void told.push(`${turnId} ${status}`);
    const turns = await start({ upstream, policies: { default: { onTurnFinished } } });
    const conversation = test.conversation();
    const [first, second, third] = [
      await turns.enqueue({ conversation, text: 'one' }),
      await turns.enqueue({ conversation, text: 'two' }),
      await turns.enqueue({ conversation, text: 'three' }),
    ];
    expect(await turns.cancel(second.id)).toBe('cancelled');
    gate.resolve();
    expect((await waitForTurn(turns, third.id)).text).toBe('three');
    await test.settled();
    expect(upstream.prompts.map(({ text }) => text)).toEqual(['one', 'three']);
    expect(told.sort()).toEqual(
      [`${first.id} completed`, `${second.id} cancelled`, `${third.id} completed`].sort(),
    );
  });

  it('fails as upstream fails, and the next one runs', async () => {
    const upstream = scriptedUpstream((agent, { text }) => {
      if (text === 'key') agent.fails({ message: 'Incorrect API key.', statusCode: 401 });
      if (text === 'bug') throw new Error('a bug');
      agent.says('fine');
    });
    const turns = await start({ upstream });
    const conversation = test.conversation();
    const ids = [];
    for (const text of ['key', 'bug', 'fine']) ids.push((await turns.enqueue({ conversation, text })).id);
    const ends = await Promise.all(ids.map((id) => waitForTurn(turns, id)));
    expect(ends).toMatchObject([
      { status: 'error', error: { reason: 'provider_authentication', statusCode: 401 } },
      { status: 'error', error: { detail: 'a bug' } },
      { status: 'completed', text: 'fine' },
    ]);
  });

  it('ends by its time limit', async () => {
    const clock = manualClock();
    const upstream = scriptedUpstream((agent) => agent.hangs());
    const limits = { turnTimeoutMs: 60_000 };
    const turns = await start({ upstream, clock, policies: { default: { limits } } });
    const { id } = await ask();
    for await (const entry of turns.follow(id))
      if (entry.type === 'progress' && entry.progress === 'prompted') break;
    await clock.advance(61_000);
    expect(await waitForTurn(turns, id)).toMatchObject({
      status: 'error',
      error: { reason: 'deadline_turn_timeout_ms' },
    });
  });

  it('waits for a server that is away', async () => {
    const clock = manualClock();
    const upstream = scriptedUpstream('here');
    upstream.goAway();
    const turns = await start({ upstream, clock });
    const { id } = await ask();
    await clock.advance(20_000);
    for await (const entry of turns.follow(id))
      if (entry.type === 'progress' && entry.progress === 'waiting_for_server') break;
    upstream.comeBack();
    await clock.advance(30_000);
    expect(await waitForTurn(turns, id)).toMatchObject({ status: 'completed', text: 'here' });
  });

  it('is asked once more when the server was restarted, and gets a new session when it has forgotten its own', async () => {
    const clock = manualClock();
    const upstream = scriptedUpstream((agent) => agent.hangs());
    const turns = await start({ upstream, clock });
    const conversation = test.conversation();
    const { id } = await turns.enqueue({ conversation, text: 'one' });
    for await (const entry of turns.follow(id))
      if (entry.type === 'progress' && entry.progress === 'prompted') break;
    upstream.script('again');
    upstream.restart();
    await clock.advance(60_000);
    expect(await waitForTurn(turns, id)).toMatchObject({ text: 'again', run: { reruns: 1 } });
    upstream.forgetSessions();
    const { id: next } = await turns.enqueue({ conversation, text: 'two' });
    expect(await waitForTurn(turns, next)).toMatchObject({ text: 'again', run: { resends: 1 } });
  });

  it('is handed back by a worker that leaves, and adopted by the next one', async () => {
    const gate = deferred();
    const upstream = scriptedUpstream(async (agent) => {
      agent.says('one ');
      await gate.promise;
      agent.says('two');
    });
    const turns = await start({ upstream, policies: undefined as never });
    const worker = await turns.work({ policies: { default: {} } });
    const { id } = await ask();
    for await (const entry of turns.follow(id)) if (entry.type === 'part') break;
    expect(await worker.stop(0)).toEqual({ handedBack: [id] });
    await turns.work({ policies: { default: {} } });
    gate.resolve();
    expect(await waitForTurn(turns, id)).toMatchObject({
      text: 'one two',
      run: { epoch: 2, reruns: 0, resends: 0 },
    });
    expect(upstream.prompts).toHaveLength(1);
  });

  it('ends when its conversation was deleted', async () => {
    const turns = await start({ policies: undefined as never });
    const conversation = test.conversation({ _id: 'a'.repeat(24), title: 'x' });
    const { id } = await turns.enqueue({ conversation, text: 'one' });
    await expect(turns.enqueue({ conversation, text: 'two', onBusy: 'reject' })).rejects.toThrow(
      TurnBusyError,
    );
    test.deleteConversation(conversation);
    await turns.work({ policies: { default: {} } });
    expect(await waitForTurn(turns, id)).toMatchObject({
      status: 'error',
      error: { reason: 'conversation_gone' },
    });
    await expect(turns.enqueue({ conversation, text: 'two' })).rejects.toThrow(NotFoundError);
  });
});

it('has no database, and says so', async () => {
  const turns = await start();
  await turns.createIndexes();
  expect(() => turns.models).toThrow(IllegalStateError);
  expect(() => turns.connection).toThrow(IllegalStateError);
});

it('waiting says how far a turn has come that does not end', async () => {
  const turns = await start({ upstream: scriptedUpstream((agent) => agent.hangs()) });
  const { id } = await ask();
  await expect(waitForTurn(turns, id, { timeoutMs: 200 })).rejects.toThrow(
    `turn ${id} is pending (prompted) after 200 ms`,
  );
  await turns.cancel(id);
  await expect(waitForRequest(turns, id)).rejects.toThrow(`turn ${id} is cancelled`);
});

describe('conversations with ids of a host of another kind', () => {
  it.each<[ConversationIdType, unknown, string]>([
    ['String', '../Trip: {1}', '../Trip: {1}'],
    ['Number', 7, '7'],
    ['UUID', '0B1C2D3E-4F50-4A61-8B72-93A4B5C6D7E8', '0b1c2d3e-4f50-4a61-8b72-93a4b5c6d7e8'],
    ['BigInt', 2n ** 62n, String(2n ** 62n)],
  ])('are conversations as any other: %s', async (conversationIds, _id, text) => {
    const turns = await start({ conversationIds });
    expect(test.conversation({ _id })).toBe(text);
    for (const conversation of [text, { _id }, test.conversation()] as never[]) {
      const { id } = await turns.enqueue({ conversation, text: 'x' });
      expect(await waitForTurn(turns, id)).toMatchObject({ status: 'completed' });
    }
    expect((await turns.conversation(text).messages()).messages).toHaveLength(4);
    expect((await turns.session(text).stored())?.directory).toMatch(/\/id-[0-9a-f]{40}$/);
    await expect(turns.enqueue({ conversation: { $ne: null } as never, text: 'x' })).rejects.toThrow(
      InvalidInputError,
    );
  });

  it('of a kind that no model has are refused', async () => {
    await expect(start({ conversationIds: 'Date' as never })).rejects.toThrow(
      'conversationIds: must be one of ObjectId, String, Number, UUID, BigInt',
    );
  });
});
