import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { ModelRequest, Step } from '../../dev/scripted-model/script.ts';
import type { StoredTurn, TurnEntry, TurnPolicy, Turns } from '../../src/index.ts';
import { serverAddress } from '../../src/opencode/address.ts';
import { openCodeClient } from '../../src/opencode/v1/client.ts';
import type { Exchange } from '../../src/reply/exchange.ts';
import { deferred } from '../support/deferred.ts';
import { eventually } from '../support/eventually.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { startTcpProxy, through } from '../support/tcp-proxy.ts';
import { concatenated, newConversation } from '../support/turns.ts';

let system: TestSystem;
let turns: Turns;
const exchanges = new Map<string, Exchange>();
const policy: TurnPolicy = {
  model: 'scripted/scripted',
  // One for all: upstream starts each directory anew, which takes seconds.
  directory: () => path.join(system.sandboxRoot, 'shared'),
  onFinalized: ({ turnId }, exchange) => {
    exchanges.set(turnId, exchange);
  },
};

beforeAll(async () => {
  system = await startSystem();
  turns = await system.connect();
  await turns.work({ policies: { default: policy } });
}, 90_000);
afterAll(() => system.stop());

const usage = { input: 100, output: 20 };
const task = (prompt: string, more = {}): NonNullable<Step['tools']>[number] => ({
  name: 'task',
  input: { description: 'Sub work', prompt, subagent_type: 'general', ...more },
});
/** Built-in agents ask before they read a file of this name. */
const readsSecret: Step = { tools: [{ name: 'read', input: { filePath: '.env' } }], usage };
const isFor = ({ userText }: ModelRequest, prompt: string) => userText.includes(prompt);

async function start(on: Turns, text: string, conversation?: string) {
  const of = conversation ?? (await newConversation(on));
  const { id } = await on.enqueue({ conversation: of, text });
  const entries: TurnEntry[] = [];
  const finished = (async () => {
    for await (const entry of on.follow(id)) entries.push(entry);
    return (await on.get(id)) as StoredTurn;
  })();
  const asked = () =>
    eventually(async () => {
      const open = ((await on.get(id)) as StoredTurn).requests.find(({ state }) => state === 'open');
      if (!open) throw new Error('no prompt yet');
      return open;
    });
  return { id, conversation: of, entries, finished, asked };
}

const taskOf = ({ parts }: StoredTurn) => {
  const part = parts.find((one) => one.type === 'tool' && one.tool === 'task');
  if (part?.type !== 'tool') throw new Error('no task part');
  return part;
};

/** Answers the prompt of a sub-agent and checks all that was told about it. */
async function answerOnce(on: Turns, turn: Awaited<ReturnType<typeof start>>): Promise<StoredTurn> {
  const prompt = await turn.asked();
  expect(prompt).toMatchObject({ kind: 'permission', details: { permission: 'read' } });
  expect(await on.answer(turn.id, prompt.requestId, { kind: 'permission', reply: 'once' })).toBe(true);
  const stored = await turn.finished;
  expect(stored).toMatchObject({ status: 'completed', requests: [{ state: 'answered' }] });
  const child = taskOf(stored).metadata.sessionId;
  expect(child).not.toBe(stored.run.sessionId);
  expect(prompt.sessionId).toBe(child);
  const told = turn.entries.flatMap((entry) => (entry.type === 'request' ? [entry.request] : []));
  expect(told.map(({ sessionId, state }) => [sessionId, state])).toEqual([
    [child, 'open'],
    [child, 'answered'],
  ]);
  return stored;
}

describe('a turn with a sub-agent', () => {
  it('has the answer of the agent alone, and the cost of both, told apart', async () => {
    system.respond((request) => {
      const { step } = request;
      if (!isFor(request, 'count the files')) {
        return step === 0
          ? { text: ['Delegating.'], tools: [task('count the files')], usage }
          : { text: ['There are three.'], usage };
      }
      const bash = { name: 'bash', input: { command: 'echo 3', description: 'Count' } };
      return step === 0
        ? { text: ['Counting now.'], tools: [bash], usage: { input: 1_000, output: 200 } }
        : { text: ['I counted three.'], usage: { input: 1_200, output: 50 } };
    });
    const { id, entries, finished } = await start(turns, 'how many?');
    const stored = await finished;
    expect(stored).toMatchObject({ status: 'completed', text: 'Delegating.\n\nThere are three.' });
    expect(concatenated(entries)).toBe('Delegating.\n\nThere are three.');
    expect(stored.parts.map(({ type }) => type)).toEqual(['text', 'tool', 'text']);
    const own = 0.0006 * 2;
    expect(stored.usage).toMatchObject({
      cost: own + 0.01035,
      input: 2_400,
      output: 290,
      steps: 2,
      children: { cost: 0.01035, tokens: { input: 2_200, output: 250 } },
    });
    const told = entries.flatMap((entry) => (entry.type === 'usage' ? [entry.usage] : []));
    expect(told.at(-1)).toEqual(stored.usage);
    const child = taskOf(stored).metadata.sessionId as string;
    const exchange = exchanges.get(id);
    expect([...(exchange?.children.keys() ?? [])]).toEqual([child]);
    const said = JSON.stringify(exchange?.children.get(child));
    expect(said).toContain('Counting now.');
    expect(JSON.stringify([entries, stored])).not.toContain('Counting now.');
  });

  it('that needs a permission surfaces it with the sub-agent’s session, and goes on when it is answered', async () => {
    system.respond((request) => {
      if (!isFor(request, 'find the color'))
        return request.step === 0 ? { tools: [task('find the color')], usage } : { text: ['Blue.'], usage };
      return request.step === 0 ? readsSecret : { text: ['It is blue.'], usage };
    });
    const turn = await start(turns, 'color?');
    expect((await answerOnce(turns, turn)).text).toBe('Blue.');
  });

  it('of an earlier turn hears and asks again when a later turn gives it more to do', async () => {
    let child = '';
    system.respond((request) => {
      if (isFor(request, 'remember')) return { text: ['Remembered.'], usage };
      if (isFor(request, 'recall')) return request.step === 0 ? readsSecret : { text: ['Recalled.'], usage };
      if (request.step > 0) return { text: ['Done.'], usage };
      const tool = isFor(request, 'first') ? task('remember') : task('recall', { task_id: child });
      return { tools: [tool], usage };
    });
    const first = await start(turns, 'first');
    child = taskOf(await first.finished).metadata.sessionId as string;
    const second = await start(turns, 'second', first.conversation);
    const stored = await answerOnce(turns, second);
    expect(taskOf(stored).metadata.sessionId).toBe(child);
    expect(stored.usage).toMatchObject({ cost: 0.0024, steps: 2, children: { cost: 0.0012 } });
  });

  /** The model waits at the gate, then starts a sub-agent that asks; `leave` and `comeBack` frame that. */
  async function whileAway(
    on: Turns,
    text: readonly string[],
    leave: () => unknown,
    comeBack: () => unknown,
  ): Promise<StoredTurn> {
    const gate = deferred();
    const before = system.model.turnRequests.length;
    system.respond((request) => {
      if (isFor(request, 'look there')) return request.step === 0 ? readsSecret : { text: ['Seen.'], usage };
      if (request.step > 0) return { text: ['There.'], usage };
      return { text, tools: [task('look there')], gate: gate.promise, gateAt: text.length, usage };
    });
    const turn = await start(on, 'go');
    await eventually(() => expect(system.model.turnRequests.length).toBe(before + 1));
    await eventually(() => expect(concatenated(turn.entries)).toBe(text.join('')));
    await leave();
    gate.resolve();
    const { url, password } = system.opencode;
    const client = openCodeClient({ address: serverAddress(url, undefined, password) });
    const { directory = '' } = ((await on.get(turn.id)) as StoredTurn).run;
    await eventually(async () => expect(await client.permissions(directory)).toHaveLength(1));
    await comeBack();
    const stored = await answerOnce(on, turn);
    expect(stored.text).toBe([...text.slice(0, 1), 'There.'].join('\n\n'));
    expect(stored.usage).toMatchObject({ steps: 2, children: { cost: 0.0012 } });
    return stored;
  }

  it('that started and asked while the event stream was away is heard once it is back', async () => {
    const { url, password } = system.opencode;
    const proxy = await startTcpProxy(url);
    const other = await system.connect({
      prefix: `${system.options.prefix}-gap`,
      opencode: { url: through(proxy, url), ...(password ? { password } : {}) },
    });
    await other.work({ policies: { default: policy } });
    await whileAway(other, ['One moment.'], proxy.cut, proxy.restore);
    await other.close();
    await proxy.stop();
  });

  it('that started and asked while no worker had the turn is heard by the next one', async () => {
    const other = await system.connect({ prefix: `${system.options.prefix}-adopted` });
    const first = await other.work({ policies: { default: policy } });
    const stored = await whileAway(
      other,
      [],
      async () => expect((await first.stop(0)).handedBack).toHaveLength(1),
      () => other.work({ policies: { default: policy } }),
    );
    expect(stored.run).toMatchObject({ epoch: 2, reruns: 0, resends: 0 });
    await other.close();
  });
});
