import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { RunningWorker, Turns } from '../../src/index.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { concatenated, newConversation, runTurn } from '../support/turns.ts';

let system: TestSystem;
let turns: Turns;
let worker: RunningWorker;

beforeAll(async () => {
  system = await startSystem();
  turns = await system.connect();
  worker = await turns.work({ policies: { default: { model: 'scripted/scripted' } } });
}, 90_000);
afterAll(() => system.stop());
beforeEach(() => {
  system.reports.length = 0;
});

describe('a turn', () => {
  it('answers with the bytes that the model sent, in one request', async () => {
    const text = ['Grüße, ', '世界 ', '👩‍🚀', '\n\n```js\nlet a;\n```', ' end'];
    system.respond(() => ({ text, chunkDelayMs: 5 }));
    const before = system.model.turnRequests.length;
    const { stored, view, entries } = await runTurn(turns, await newConversation(turns), 'hello');
    expect(stored).toMatchObject({ status: 'completed', text: text.join('') });
    expect(concatenated(entries)).toBe(text.join(''));
    expect(view.end).toMatchObject({ status: 'completed', text: text.join('') });
    expect(system.model.turnRequests.length - before).toBe(1);
    expect(system.reports).toEqual([]);
  });

  it('attaches the file that a tool wrote, byte for byte', async () => {
    const content = 'a,b\n1,2\n';
    system.respond(({ step }) =>
      step === 0
        ? { text: ['Writing.'], tools: [{ name: 'write', input: { filePath: 'table.csv', content } }] }
        : { text: ['Done.'] },
    );
    const conversation = await newConversation(turns);
    const { stored, view } = await runTurn(turns, conversation, 'write it');
    expect(stored.status).toBe('completed');
    expect(stored.artifacts).toMatchObject([
      { filename: 'table.csv', contentType: 'text/csv', bytes: content.length },
    ]);
    expect(view.artifacts).toEqual(stored.artifacts);
    const chunks: Uint8Array[] = [];
    for await (const chunk of turns.files.read(stored.artifacts[0]?.fileId ?? '')) chunks.push(chunk);
    const onDisk = readFileSync(path.join(system.sandboxRoot, conversation, 'table.csv'));
    expect(Buffer.concat(chunks).equals(onDisk)).toBe(true);
    expect(stored.usage).toMatchObject({ steps: 2 });
    expect(stored.parts.map(({ type }) => type)).toEqual(['text', 'tool', 'text']);
  });

  it('of the same conversation comes after the one before, in the same session', async () => {
    system.respond(({ userText }) => ({ text: [`echo ${userText}`], chunkDelayMs: 20 }));
    const conversation = await newConversation(turns);
    const ids = [];
    for (const text of ['one', 'two', 'three']) ids.push((await turns.enqueue({ conversation, text })).id);
    const stored = await Promise.all(
      ids.map(async (id) => (await runToEnd(id)) as NonNullable<Awaited<ReturnType<Turns['get']>>>),
    );
    expect(stored.map(({ text }) => text)).toEqual(['echo one', 'echo two', 'echo three']);
    expect(new Set(stored.map(({ run }) => run.sessionId)).size).toBe(1);
    const [first, second, third] = stored;
    expect(first?.finishedAt).toBeLessThanOrEqual(second?.run.promptedAt ?? 0);
    expect(second?.finishedAt).toBeLessThanOrEqual(third?.run.promptedAt ?? 0);
  });

  it('that upstream compacts in the middle has the answer from before and after, and pays for the summary', async () => {
    // Almost what the model's context holds: upstream writes a summary before the next step.
    const full = { input: 195_000, output: 20 };
    const bash = { name: 'bash', input: { command: 'echo found', description: 'Look' } };
    system.respond(({ kind, userText, step }) => {
      if (kind === 'other') return { text: ['A summary.'], usage: { input: 1_000, output: 100 } };
      if (userText === 'look' && step === 0) return { text: ['Looking.'], tools: [bash], usage: full };
      return { text: ['The final ', 'answer.'] };
    });
    const before = system.model.requests.length;
    const { stored, view, entries } = await runTurn(turns, await newConversation(turns), 'look');
    expect(stored).toMatchObject({ status: 'completed', text: 'Looking.\n\nThe final answer.' });
    expect(view.end?.text).toBe(stored.text);
    expect(concatenated(entries)).toBe(stored.text);
    expect(stored.parts.map(({ type }) => type)).toEqual(['text', 'tool', 'text']);
    expect(JSON.stringify([stored, entries])).not.toMatch(/A summary|Continue if you have/);
    expect(stored.usage).toMatchObject({ input: 195_000 + 1_000 + 100, output: 20 + 100 + 20, steps: 3 });
    expect(system.model.requests.slice(before).map(({ kind }) => kind)).toEqual(['turn', 'other', 'turn']);
  });

  it('that upstream ends with an error keeps the reason, and shows a neutral text', async () => {
    system.respond(() => ({ error: { status: 401, body: { error: { message: 'bad key', type: 'auth' } } } }));
    const { stored } = await runTurn(turns, await newConversation(turns), 'hello');
    expect(stored).toMatchObject({
      status: 'error',
      error: { reason: 'provider_authentication', name: 'APIError', statusCode: 401, detail: 'bad key' },
    });
    expect(stored.text).toBe('The assistant could not finish this answer.');
  });

  it('with an agent that nobody knows ends with what upstream said', async () => {
    const other = await system.connect({ prefix: `${system.options.prefix}-agent` });
    await other.work({ policies: { default: { model: 'scripted/scripted', agent: 'nobody' } } });
    const { stored } = await runTurn(other, await newConversation(other), 'hello');
    expect(stored).toMatchObject({ status: 'error', error: { reason: 'unknown_agent' } });
    await other.close();
  });

  async function runToEnd(id: string) {
    for await (const entry of turns.follow(id)) if (entry.type === 'finished') break;
    return turns.get(id);
  }
});

it('leaves no turn running and nothing reported', () => {
  expect(worker.active).toBe(0);
});
