import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { RunningWorker, StoredTurn, TurnEntry, TurnPolicy, Turns } from '../../src/index.ts';
import { serverAddress } from '../../src/opencode/address.ts';
import { openCodeClient } from '../../src/opencode/v1/client.ts';
import { deferred } from '../support/deferred.ts';
import { eventually } from '../support/eventually.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { concatenated, newConversation, runTurn } from '../support/turns.ts';

let system: TestSystem;
let turns: Turns;
let worker: RunningWorker;
const ask = [{ permission: 'bash', pattern: '*', action: 'ask' as const }];
/** `cold`: a directory for each conversation, whose first turn upstream begins late. */
const policies = ({ policy }: TestSystem): Record<string, TurnPolicy> => ({
  default: policy,
  asking: { ...policy, permissions: ask },
  impatient: { ...policy, permissions: ask, limits: { inputTimeoutMs: 300 } },
  cold: { model: 'scripted/scripted' },
});

beforeAll(async () => {
  system = await startSystem();
  turns = await system.connect();
  worker = await turns.work({ policies: policies(system) });
  // The shared directory is loaded once and for all: how long that takes is not what is tried here.
  await runTurn(turns, await newConversation(turns), 'warm');
}, 90_000);
afterAll(() => system.stop());

async function start(policy = 'default', text = 'go') {
  const { id } = await turns.enqueue({ conversation: await newConversation(turns), text, policy });
  const entries: TurnEntry[] = [];
  const finished = (async () => {
    for await (const entry of turns.follow(id)) entries.push(entry);
    return (await turns.get(id)) as StoredTurn;
  })();
  return { id, entries, finished, stored: async () => (await turns.get(id)) as StoredTurn };
}

const held = () => ({ text: ['some ', 'text ', 'never sent'], gate: deferred().promise, gateAt: 2 });
const bash = (command: string) => ({ tools: [{ name: 'bash', input: { command, description: 'test' } }] });

async function busySessions(): Promise<string[]> {
  const { url, password } = system.opencode;
  const client = openCodeClient({ address: serverAddress(url, undefined, password) });
  const { Message } = turns.models;
  const directories = (await Message.distinct('run.directory')) as unknown as string[];
  const statuses = await Promise.all(
    directories.filter(Boolean).map((directory) => client.statuses(directory)),
  );
  return statuses.flatMap((status) => Object.keys(status));
}

describe('cancel', () => {
  it('of a waiting turn is terminal at once and asks the model nothing', async () => {
    system.respond(held);
    const conversation = await newConversation(turns);
    const first = await turns.enqueue({ conversation, text: 'first' });
    const second = await turns.enqueue({ conversation, text: 'second' });
    await eventually(() => expect(system.model.turnRequests.at(-1)?.userText).toBe('first'));
    expect(await turns.cancel(second.id)).toBe('cancelled');
    expect(await turns.get(second.id)).toMatchObject({ status: 'cancelled', run: { epoch: 0 } });
    expect(await turns.cancel(second.id)).toBe('finished');
    expect(await turns.cancel(first.id)).toBe('requested');
    await eventually(async () => expect((await turns.get(first.id))?.status).toBe('cancelled'));
    expect(system.model.turnRequests.some(({ userText }) => userText === 'second')).toBe(false);
  });

  it('of an accepted prompt whose run has not begun yet stops that run when it begins', async () => {
    system.respond(held);
    const before = system.model.turnRequests.length;
    // The directory is new: upstream accepts the prompt at once, and loads its plugins before it runs it.
    const turn = await start('cold');
    await eventually(async () => expect((await turn.stored()).run.phase).toBe('prompted'));
    expect(await turns.cancel(turn.id)).toBe('requested');
    expect((await turn.finished).status).toBe('cancelled');
    expect(await busySessions()).toEqual([]);
    // Whatever was asked after all has been hung up on.
    const asked = () => system.model.turnRequests.slice(before);
    await eventually(() => expect(asked().filter(({ outcome }) => outcome === undefined)).toEqual([]));
  });

  it('of a running turn keeps what was streamed, stops the model, and leaves the session idle', async () => {
    system.respond(held);
    const turn = await start();
    await eventually(() => expect(concatenated(turn.entries)).toBe('some text '));
    const request = system.model.turnRequests.at(-1);
    expect(await turns.cancel(turn.id)).toBe('requested');
    expect(await turn.finished).toMatchObject({ status: 'cancelled', text: 'some text ' });
    expect(request?.outcome).toBe('aborted');
    expect(await busySessions()).toEqual([]);
  });

  it('lets the next turn of the conversation run in the same session', async () => {
    system.respond(({ userText }) => (userText === 'first' ? held() : { text: ['second answer'] }));
    const conversation = await newConversation(turns);
    const first = await turns.enqueue({ conversation, text: 'first' });
    const second = await turns.enqueue({ conversation, text: 'second' });
    await eventually(() => expect(system.model.turnRequests.at(-1)?.userText).toBe('first'));
    await turns.cancel(first.id);
    await eventually(async () =>
      expect(await turns.get(second.id)).toMatchObject({ status: 'completed', text: 'second answer' }),
    );
  });

  it('while upstream waits to retry its provider ends the turn', async () => {
    system.respond(() => ({ error: { status: 500 } }));
    const turn = await start();
    await eventually(() => expect(turn.entries.some(({ type }) => type === 'retry')).toBe(true));
    await turns.cancel(turn.id);
    expect(await turn.finished).toMatchObject({ status: 'cancelled' });
    expect(await busySessions()).toEqual([]);
  });

  it('while a question is open closes the question', async () => {
    system.respond(() => bash('echo asked'));
    const turn = await start('asking');
    await eventually(async () => expect((await turn.stored()).requests).toHaveLength(1));
    await turns.cancel(turn.id);
    expect(await turn.finished).toMatchObject({ status: 'cancelled', requests: [{ state: 'closed' }] });
  });

  it('while a sub-agent runs stops the sub-agent too', async () => {
    const child = { description: 'look', prompt: 'child work', subagent_type: 'general' };
    system.respond(({ userText }) =>
      userText === 'go' ? { tools: [{ name: 'task', input: child }] } : held(),
    );
    const turn = await start();
    await eventually(() => expect(system.model.turnRequests.at(-1)?.userText).toContain('child work'));
    await turns.cancel(turn.id);
    expect(await turn.finished).toMatchObject({ status: 'cancelled' });
    await eventually(async () => expect(await busySessions()).toEqual([]));
  });
});

describe('answer', () => {
  it('of a permission lets the tool run', async () => {
    system.respond(({ step }) => (step === 0 ? bash('echo allowed') : { text: ['ran it'] }));
    const turn = await start('asking');
    const prompt = await eventually(async () => {
      const [first] = (await turn.stored()).requests;
      if (!first) throw new Error('no prompt yet');
      return first;
    });
    expect(prompt).toMatchObject({ kind: 'permission', state: 'open' });
    expect(await turns.answer(turn.id, prompt.requestId, { kind: 'permission', reply: 'once' })).toBe(true);
    const stored = await turn.finished;
    expect(stored).toMatchObject({
      status: 'completed',
      text: 'ran it',
      requests: [{ state: 'answered' }],
    });
    expect(stored.parts).toContainEqual(expect.objectContaining({ tool: 'bash', status: 'completed' }));
    await expect(
      turns.answer(turn.id, prompt.requestId, { kind: 'permission', reply: 'once' }),
    ).resolves.toBe(false);
  });

  it('of a question reaches the agent', async () => {
    const question = {
      question: 'Which color?',
      header: 'Color',
      options: [{ label: 'Blue', description: 'b' }],
    };
    system.respond(({ step }) =>
      step === 0
        ? { tools: [{ name: 'question', input: { questions: [question] } }] }
        : { text: ['blue then'] },
    );
    const turn = await start();
    await eventually(async () => expect((await turn.stored()).requests).toHaveLength(1));
    const [prompt] = (await turn.stored()).requests;
    await turns.answer(turn.id, prompt?.requestId ?? '', { kind: 'question', answers: [['Blue']] });
    expect(await turn.finished).toMatchObject({ status: 'completed', text: 'blue then' });
  });

  it('that never comes is a rejection after the prompt time', async () => {
    system.respond(() => bash('echo late'));
    const turn = await start('impatient');
    expect(await turn.finished).toMatchObject({ status: 'completed', requests: [{ state: 'rejected' }] });
  });
});

it('leaves no turn behind', async () => {
  // A turn is told as ended before its worker has put its job away.
  await eventually(() => expect(worker.active).toBe(0));
});
