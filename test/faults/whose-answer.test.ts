import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { RunningWorker, StoredTurn, TurnEntry, Turns } from '../../src/index.ts';
import { serverAddress } from '../../src/opencode/address.ts';
import { openCodeClient } from '../../src/opencode/v1/client.ts';
import type { OpenCode } from '../../src/opencode/v1/server.ts';
import { deferred } from '../support/deferred.ts';
import { eventually } from '../support/eventually.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { newConversation, runTurn } from '../support/turns.ts';
import { startUpstreamProxy, type UpstreamProxy } from '../support/upstream-proxy.ts';
import { expectWholeStory } from './promises.ts';

let system: TestSystem;
let proxy: UpstreamProxy;
let client: OpenCode;
let turns: Turns;
let worker: RunningWorker;
/** Sessions whose status is busy for ever. */
const lies = new Set<string>();

beforeAll(async () => {
  system = await startSystem();
  const { url, password = '' } = system.opencode;
  proxy = await startUpstreamProxy(url);
  proxy.rewrite(({ path: route }) => {
    if (route !== '/session/status' || lies.size === 0) return undefined;
    return (body) => ({
      ...(body as object),
      ...Object.fromEntries([...lies].map((id) => [id, { type: 'busy' }])),
    });
  });
  client = openCodeClient({ address: serverAddress(url, undefined, password) });
  turns = await system.connect({ opencode: { url: proxy.url, password } });
  worker = await turns.work({ policies: { default: system.policy } });
  await runTurn(turns, await newConversation(turns), 'warm');
}, 90_000);
beforeEach(() => {
  lies.clear();
  system.reports.length = 0;
});
afterAll(async () => {
  await system.stop();
  await proxy.stop();
});

async function start(text: string, existing?: string) {
  const conversation = existing ?? (await newConversation(turns));
  const { id } = await turns.enqueue({ conversation, text });
  const entries: TurnEntry[] = [];
  const ended = (async () => {
    for await (const entry of turns.follow(id)) entries.push(entry);
    const stored = (await turns.get(id)) as StoredTurn;
    // Without a word there is nothing to tell but the end, and people see the fallback text.
    if (stored.parts.length > 0) expectWholeStory(entries, stored);
    return stored;
  })();
  ended.catch(() => undefined);
  const sessionId = () =>
    eventually(async () => {
      const found = (await turns.get(id))?.run.sessionId;
      if (!found) throw new Error('no session yet');
      return found;
    });
  return { id, conversation, entries, ended, sessionId };
}

const asked = (text: string) => system.model.turnRequests.filter(({ userText }) => userText === text);
const bash = (command: string) => ({ tools: [{ name: 'bash', input: { command, description: 'test' } }] });

describe('a status that says busy for ever', () => {
  it('weighs less than the finished message, and the next turn keeps the session', async () => {
    const gate = deferred();
    system.respond(({ userText }) => ({ text: ['to ', userText], gate: gate.promise, gateAt: 1 }));
    const turn = await start('a lie');
    const sessionId = await turn.sessionId();
    lies.add(sessionId);
    gate.resolve();
    expect(await turn.ended).toMatchObject({ status: 'completed', text: 'to a lie' });
    const next = await start('after it', turn.conversation);
    expect(await next.ended).toMatchObject({
      status: 'completed',
      text: 'to after it',
      run: { sessionId, reruns: 0, resends: 0 },
    });
    expect(asked('a lie')).toHaveLength(1);
    expect(asked('after it')).toHaveLength(1);
  });

  it('weighs less than the aborted message when a turn is cancelled', async () => {
    system.respond(() => ({ text: ['some ', 'text'], gate: deferred().promise, gateAt: 1 }));
    const turn = await start('cancelled');
    lies.add(await turn.sessionId());
    await eventually(() => expect(turn.entries.some(({ type }) => type === 'part')).toBe(true));
    await turns.cancel(turn.id);
    const stored = await turn.ended;
    expect(stored).toMatchObject({ status: 'cancelled', text: 'some ' });
    expect(stored.error).toBeUndefined();
  });

  it('is believed while a step, or a sub-agent, is still to come', async () => {
    const child = { description: 'look', prompt: 'child work', subagent_type: 'general' };
    const gate = deferred();
    system.respond(({ userText, step }) => {
      if (userText !== 'family') return { text: ['child ', 'says'], gate: gate.promise, gateAt: 1 };
      if (step === 0) return bash('sleep 4; echo slept');
      return step === 1 ? { tools: [{ name: 'task', input: child }] } : { text: ['all done'] };
    });
    const turn = await start('family');
    lies.add(await turn.sessionId());
    await eventually(() => expect(asked('child work')).toHaveLength(1), 30_000);
    gate.resolve();
    expect(await turn.ended).toMatchObject({ status: 'completed', text: 'all done' });
    expect(asked('family')).toHaveLength(3);
  });
});

describe('a context that overflows', () => {
  const message = "This model's maximum context length is 200000 tokens. Please reduce the length.";
  const overflow = { error: { status: 400, body: { error: { message, code: 'context_length_exceeded' } } } };
  const usage = { input: 1_000, output: 100 };

  it('in a session with history is compacted, and the answer to the replayed prompt is the turn’s', async () => {
    let refused = 0;
    system.respond(({ userText, kind }) => {
      if (kind === 'other') return { text: ['A short summary.'], usage };
      if (userText !== 'too long') return { text: ['before'], usage };
      refused += 1;
      return refused === 1 ? overflow : { text: ['The ', 'right ', 'answer.'], chunkDelayMs: 300, usage };
    });
    const first = await start('history');
    expect(await first.ended).toMatchObject({ status: 'completed' });
    const turn = await start('too long', first.conversation);
    const stored = await turn.ended;
    expect(stored).toMatchObject({
      status: 'completed',
      text: 'The right answer.',
      run: { reruns: 0, resends: 0 },
    });
    // The summary and the answer: 1000 tokens in and 100 out each.
    expect(stored.usage).toMatchObject({ steps: 2, input: 2_000, output: 200 });
    expect(stored.usage?.cost).toBeCloseTo(2 * 0.0045, 6);
    expect(refused).toBe(2);
    // Told as it grew, not found afterwards.
    expect(turn.entries.filter(({ type }) => type === 'text').length).toBeGreaterThan(0);
    const messages = await client.messages(stored.run.sessionId ?? '');
    // The server did replay it: two messages of the same text.
    const twins = messages.filter(
      ({ info, parts }) => info.role === 'user' && parts.some((part) => part.text === 'too long'),
    );
    expect(twins).toHaveLength(2);
  });

  it('that compaction cannot cure fails with the overflow', async () => {
    system.respond(({ userText, kind }) =>
      kind === 'other' || userText === 'far too long' ? overflow : { text: ['before'], usage },
    );
    const first = await start('history');
    await first.ended;
    const turn = await start('far too long', first.conversation);
    expect(await turn.ended).toMatchObject({
      status: 'error',
      error: { name: 'ContextOverflowError' },
      run: { reruns: 0 },
    });
  });
});

describe('somebody else in the session', () => {
  const foreignPrompt = async (turn: { sessionId(): Promise<string> }, text: string) => {
    const model = { providerID: 'scripted', modelID: 'scripted' };
    const id = `msg_${Date.now().toString(16).padStart(12, '0')}foreign0000000`;
    const part = { id: id.replace('msg', 'prt'), type: 'text' as const, text };
    await client.prompt(await turn.sessionId(), { messageId: id, parts: [part], model });
  };
  const told = (id: string) =>
    system.reports.filter(({ error, context }) => {
      return context.turnId === id && (error as { code?: string }).code === 'foreign_prompt';
    });

  it('who prompts in the middle of a tool gets the rest of the run, and the turn says so', async () => {
    system.respond(({ userText, step }) => {
      if (userText === 'theirs') return { text: ['an answer to them'] };
      return step === 0 ? { text: ['I look. '], ...bash('sleep 3; echo looked') } : { text: ['mine'] };
    });
    const turn = await start('ours');
    await eventually(() =>
      expect(turn.entries.some((entry) => entry.type === 'part' && entry.part.type === 'tool')).toBe(true),
    );
    await foreignPrompt(turn, 'theirs');
    const stored = await turn.ended;
    expect(stored).toMatchObject({
      status: 'error',
      text: 'I look. ',
      error: { reason: 'foreign_prompt' },
      run: { reruns: 0, resends: 0 },
    });
    expect(JSON.stringify(stored.parts)).not.toContain('an answer to them');
    expect(stored.parts).toContainEqual(expect.objectContaining({ tool: 'bash', status: 'completed' }));
    expect(asked('ours')).toHaveLength(1);
    expect(told(turn.id)).toHaveLength(1);
  });

  it('who prompts while the last text is written changes nothing of it', async () => {
    const gate = deferred();
    system.respond(({ userText }) =>
      userText === 'also theirs'
        ? { text: ['an answer to them'] }
        : { text: ['my ', 'own ', 'words'], gate: gate.promise, gateAt: 1 },
    );
    const turn = await start('ours alone');
    await eventually(() => expect(turn.entries.some(({ type }) => type === 'part')).toBe(true));
    await foreignPrompt(turn, 'also theirs');
    gate.resolve();
    expect(await turn.ended).toMatchObject({ status: 'completed', text: 'my own words' });
    expect(asked('ours alone')).toHaveLength(1);
    expect(told(turn.id)).toHaveLength(1);
  });
});

it('leaves no turn behind', () => {
  expect(worker.active).toBe(0);
});
