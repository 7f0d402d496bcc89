import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Step } from '../../dev/scripted-model/script.ts';
import type { RunningWorker, StoredTurn, TurnEntry, Turns } from '../../src/index.ts';
import { serverAddress } from '../../src/opencode/address.ts';
import { openCodeClient } from '../../src/opencode/v1/client.ts';
import type { OpenCode } from '../../src/opencode/v1/server.ts';
import { deferred } from '../support/deferred.ts';
import { eventually } from '../support/eventually.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { concatenated, newConversation, runTurn } from '../support/turns.ts';
import { expectWholeStory } from './promises.ts';

const asking = [{ permission: 'bash', pattern: '*', action: 'ask' as const }];
let system: TestSystem;
let turns: Turns;
let worker: RunningWorker;
let client: OpenCode;

beforeAll(async () => {
  system = await startSystem();
  const { url, password } = system.opencode;
  client = openCodeClient({ address: serverAddress(url, undefined, password) });
  turns = await system.connect();
  worker = await turns.work({
    policies: {
      default: system.policy,
      failing: { ...system.policy, onUpstreamLost: 'fail' },
      asking: { ...system.policy, permissions: asking },
      'no such agent': { ...system.policy, agent: 'nobody' },
    },
  });
}, 90_000);
afterAll(() => system.stop());

const held = (): Step => ({ text: ['one ', 'two ', 'three'], gate: deferred().promise, gateAt: 2 });

async function start(name: string) {
  const conversation = await newConversation(turns);
  const before = system.model.turnRequests.length;
  const { id } = await turns.enqueue({ conversation, text: name, policy: name });
  const entries: TurnEntry[] = [];
  const follow = async () => {
    for await (const entry of turns.follow(id)) entries.push(entry);
    const stored = (await turns.get(id)) as StoredTurn;
    // Without a word there is nothing to tell but the end, and people see the fallback text.
    if (stored.parts.length > 0) expectWholeStory(entries, stored);
    return stored;
  };
  const ended = follow();
  ended.catch(() => undefined);
  return {
    id,
    conversation,
    entries,
    ended,
    directory: system.policy.directory(),
    stored: async () => (await turns.get(id)) as StoredTurn,
    streamed: () => eventually(() => expect(concatenated(entries)).toBe('one two '), 30_000),
    requests: () => system.model.turnRequests.length - before,
  };
}

const post = async (route: string, directory: string) => {
  const { url, password } = system.opencode;
  const { headers } = serverAddress(url, undefined, password);
  const response = await fetch(`${url}${route}?directory=${encodeURIComponent(directory)}`, {
    method: 'POST',
    headers,
  });
  expect(response.status).toBe(200);
};

describe('a run that somebody else ends', () => {
  it('by disposing its instance is lost, and run again', async () => {
    system.respond(held);
    const turn = await start('default');
    await turn.streamed();
    system.respond(() => ({ text: ['one ', 'two ', 'again'] }));
    await post('/instance/dispose', turn.directory);
    expect(await turn.ended).toMatchObject({
      status: 'completed',
      text: 'one two again',
      run: { reruns: 1, resends: 0 },
    });
    expect(turn.entries).toContainEqual(expect.objectContaining({ type: 'progress', progress: 'rerun' }));
    expect(turn.requests()).toBe(2);
  });

  it('by disposing its instance is interrupted when the policy says so, and keeps its text', async () => {
    system.respond(held);
    const turn = await start('failing');
    await turn.streamed();
    await post('/instance/dispose', turn.directory);
    expect(await turn.ended).toMatchObject({
      status: 'error',
      text: 'one two ',
      error: { reason: 'run_lost' },
      run: { reruns: 0, resends: 0 },
    });
    expect(turn.requests()).toBe(1);
  });

  it('by an abort is interrupted, and keeps its text', async () => {
    system.respond(held);
    const turn = await start('default');
    await turn.streamed();
    await client.abortSession((await turn.stored()).run.sessionId ?? '', turn.directory);
    expect(await turn.ended).toMatchObject({
      status: 'error',
      text: 'one two ',
      error: { reason: 'aborted_upstream' },
    });
    expect(turn.requests()).toBe(1);
  });

  it('by an abort while a retry is awaited is interrupted, not completed', async () => {
    system.respond(() => ({ error: { status: 500 } }));
    const turn = await start('default');
    await eventually(() => expect(turn.entries.some(({ type }) => type === 'retry')).toBe(true));
    await client.abortSession((await turn.stored()).run.sessionId ?? '', turn.directory);
    expect(await turn.ended).toMatchObject({ status: 'error', error: { reason: 'aborted_upstream' } });
  });
});

describe('a run that ends without a last word', () => {
  it('by a rejected permission is complete as it is', async () => {
    const bash = [{ name: 'bash', input: { command: 'echo x', description: 'x' } }];
    system.respond(() => ({ text: ['I ask. '], tools: bash }));
    const turn = await start('asking');
    await eventually(async () => expect((await turn.stored()).requests).toHaveLength(1));
    const [prompt] = (await turn.stored()).requests;
    await turns.answer(turn.id, prompt?.requestId ?? '', { kind: 'permission', reply: 'reject' });
    expect(await turn.ended).toMatchObject({
      status: 'completed',
      text: 'I ask. ',
      requests: [{ state: 'rejected' }],
    });
    expect(turn.requests()).toBe(1);
  });

  it('by a rejected question is complete as it is', async () => {
    const question = { question: 'Which?', header: 'W', options: [{ label: 'A', description: 'a' }] };
    system.respond(() => ({ tools: [{ name: 'question', input: { questions: [question] } }] }));
    const turn = await start('default');
    await eventually(async () => expect((await turn.stored()).requests).toHaveLength(1));
    const [prompt] = (await turn.stored()).requests;
    await turns.answer(turn.id, prompt?.requestId ?? '', { kind: 'reject' });
    expect(await turn.ended).toMatchObject({ status: 'completed', requests: [{ state: 'rejected' }] });
    expect(turn.requests()).toBe(1);
  });

  it('with an error and no idle at all fails with that error', async () => {
    const turn = await start('no such agent');
    expect(await turn.ended).toMatchObject({
      status: 'error',
      error: { reason: 'unknown_agent', name: 'UnknownError' },
    });
    expect(turn.requests()).toBe(0);
  });
});

describe('a session that was deleted', () => {
  it('before the prompt is made anew, and the prompt goes there once', async () => {
    system.respond(() => ({ text: ['answer'] }));
    const conversation = await newConversation(turns);
    const first = await runTurn(turns, conversation, 'first');
    await client.deleteSession(first.stored.run.sessionId ?? '');
    const before = system.model.turnRequests.length;
    const { stored, entries } = await runTurn(turns, conversation, 'second');
    expect(stored).toMatchObject({ status: 'completed', text: 'answer', run: { resends: 1, reruns: 0 } });
    expect(stored.run.sessionId).not.toBe(first.stored.run.sessionId);
    expect(entries).toContainEqual(expect.objectContaining({ type: 'progress', progress: 'resent' }));
    expect(system.model.turnRequests.length - before).toBe(1);
  });

  it('while it ran is made anew, what still runs in the old one is stopped, and the prompt goes there once', async () => {
    system.respond(held);
    const turn = await start('default');
    await turn.streamed();
    const lost = system.model.turnRequests.at(-1);
    const { sessionId = '' } = (await turn.stored()).run;
    system.respond(() => ({ text: ['once ', 'more'] }));
    await client.deleteSession(sessionId);
    expect(await turn.ended).toMatchObject({
      status: 'completed',
      text: 'once more',
      run: { resends: 1, reruns: 0 },
    });
    await eventually(() => expect(lost?.outcome).toBe('aborted'));
    expect(turn.requests()).toBe(2);
  });
});

describe('a server that was killed and comes back', () => {
  it('has lost the run, which fails with its text when the policy says so', async () => {
    system.respond(held);
    const [failing, again] = [await start('failing'), await start('default')];
    await Promise.all([failing.streamed(), again.streamed()]);
    const asked = system.model.turnRequests.length;
    system.respond(() => ({ text: ['one ', 'two ', 'again'] }));
    await system.opencode.restart();
    expect(await failing.ended).toMatchObject({
      status: 'error',
      text: 'one two ',
      error: { reason: 'run_lost' },
      run: { reruns: 0 },
    });
    const completed = await again.ended;
    expect(completed.error).toBeUndefined();
    expect(completed).toMatchObject({
      status: 'completed',
      text: 'one two again',
      run: { reruns: 1, resends: 0 },
    });
    expect(again.entries).toContainEqual(expect.objectContaining({ type: 'progress', progress: 'rerun' }));
    expect(system.model.turnRequests.length).toBe(asked + 1);
  });
});

it('leaves no turn behind', () => {
  expect(worker.active).toBe(0);
});
