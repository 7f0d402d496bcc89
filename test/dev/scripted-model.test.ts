import { once } from 'node:events';
import { connect } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { Step } from '../../dev/scripted-model/script.ts';
import { type ScriptedModel, startScriptedModel } from '../../dev/scripted-model/server.ts';
import { deferred } from '../support/deferred.ts';
import { eventually } from '../support/eventually.ts';

let model: ScriptedModel;
let step: Step | undefined;
beforeEach(async () => {
  step = undefined;
  model = await startScriptedModel(() => step);
});
afterEach(() => model.stop());

interface Chunk {
  readonly id: string;
  readonly model: string;
  readonly choices: readonly { delta: Record<string, unknown>; finish_reason: string | null }[];
  readonly usage?: Record<string, unknown>;
}

const user = (content: unknown) => ({ role: 'user', content });
const assistant = { role: 'assistant', content: 'x' };
const tools = [{ function: { name: 'write' } }, { function: { name: 'bash' } }];

const ask = (body: Record<string, unknown> = {}, signal?: AbortSignal) =>
  fetch(`${model.url}/v1/chat/completions`, {
    method: 'POST',
    body: JSON.stringify({ model: 'scripted', stream: true, messages: [user('Hi')], tools, ...body }),
    ...(signal ? { signal } : {}),
  });

async function chunks(said: Step): Promise<{ chunks: Chunk[]; last: string | undefined }> {
  step = said;
  const lines = (await (await ask()).text()).split('\n\n').filter((line) => line !== '');
  const data = lines.map((line) => line.replace(/^data: /, ''));
  return { chunks: data.slice(0, -1).map((line) => JSON.parse(line) as Chunk), last: data.at(-1) };
}

const deltas = (all: readonly Chunk[]) => all.flatMap(({ choices }) => choices.map(({ delta }) => delta));
const finish = (all: readonly Chunk[]) =>
  all.flatMap(({ choices }) => choices.flatMap((one) => one.finish_reason ?? []));

/** Reads until `text` has come, and leaves the stream open. */
async function readUntil(response: Response, wanted: string): Promise<ReadableStreamDefaultReader> {
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  for (let text = ''; !text.includes(wanted); ) {
    const { value, done } = await reader.read();
    if (done) throw new Error(`the stream ended without ${wanted}`);
    text += Buffer.from(value).toString();
  }
  return reader;
}

describe('a streamed answer', () => {
  it('is reasoning, then text, then tool calls, in the chunks of the script', async () => {
    const said = await chunks({
      reasoning: ['hm ', 'so'],
      text: ['One', ' two'],
      tools: [
        { name: 'write', input: { filePath: 'a' } },
        { name: 'bash', input: {} },
      ],
    });
    const call = (index: number, name: string, input: object) => ({
      tool_calls: [
        {
          index,
          id: expect.stringMatching(/^call_/),
          type: 'function',
          function: { name, arguments: JSON.stringify(input) },
        },
      ],
    });
    expect(deltas(said.chunks)).toEqual([
      { role: 'assistant' },
      { reasoning_content: 'hm ' },
      { reasoning_content: 'so' },
      { content: 'One' },
      { content: ' two' },
      call(0, 'write', { filePath: 'a' }),
      call(1, 'bash', {}),
      {},
    ]);
    const ids = JSON.stringify(said.chunks).match(/"call_\w+"/g);
    expect(new Set(ids).size).toBe(2);
    expect(finish(said.chunks)).toEqual(['tool_calls']);
    expect(said.last).toBe('[DONE]');
  });

  it('ends with `stop` or what the script says, and its usage', async () => {
    expect(finish((await chunks({ text: ['x'] })).chunks)).toEqual(['stop']);
    const usage = { input: 10, output: 5, reasoning: 2, cached: 7 };
    const said = await chunks({ text: ['x'], finish: 'length', usage });
    expect(finish(said.chunks)).toEqual(['length']);
    expect(said.chunks.at(-1)?.usage).toEqual({
      prompt_tokens: 10,
      completion_tokens: 5,
      total_tokens: 15,
      prompt_tokens_details: { cached_tokens: 7 },
      completion_tokens_details: { reasoning_tokens: 2 },
    });
  });

  it('without a script is a fixed sentence', async () => {
    step = undefined;
    expect(await (await ask()).text()).toContain('no script ');
  });

  it('waits before its first byte and before each chunk', async () => {
    const since = performance.now();
    await chunks({ text: ['a', 'b'], delayMs: 60, chunkDelayMs: 60 });
    expect(performance.now() - since).toBeGreaterThan(170);
  });

  it('stands still at its gate, and goes on when it opens', async () => {
    const gate = deferred();
    step = { text: ['before', 'behind'], gate: gate.promise, gateAt: 1 };
    const reader = await readUntil(await ask(), 'before');
    const rest = reader.read();
    expect(await Promise.race([rest, new Promise((resolve) => setTimeout(resolve, 50, 'nothing'))])).toBe(
      'nothing',
    );
    gate.resolve();
    expect(Buffer.from((await rest).value).toString()).toContain('behind');
    await reader.cancel();
  });
});

describe('an answer that goes wrong', () => {
  it('is the status of the script, with its body or one that says so', async () => {
    step = { error: { status: 429, body: { error: { message: 'slow down' } } } };
    const limited = await ask();
    expect([limited.status, await limited.json()]).toEqual([429, { error: { message: 'slow down' } }]);
    step = { error: { status: 500 } };
    expect(await (await ask()).json()).toEqual({ error: { message: 'scripted error 500' } });
  });

  it('hangs: everything is said but the end never comes', async () => {
    step = { text: ['half'], ending: 'hang' };
    const abort = new AbortController();
    const reader = await readUntil(await ask({}, abort.signal), 'half');
    const next = reader.read().catch(() => 'cut');
    expect(await Promise.race([next, new Promise((resolve) => setTimeout(resolve, 50, 'nothing'))])).toBe(
      'nothing',
    );
    expect(model.requests[0]?.outcome).toBeUndefined();
    abort.abort();
    await eventually(() => expect(model.requests[0]?.outcome).toBe('aborted'));
  });

  it('is cut', async () => {
    step = { text: ['half'], ending: 'reset' };
    await expect(ask().then((response) => response.text())).rejects.toThrow();
    await eventually(() => expect(model.requests[0]?.outcome).toBe('aborted'));
  });
});

describe('an answer that is not streamed', () => {
  it('is one object', async () => {
    step = { text: ['a', 'b'], tools: [{ name: 'write', input: { a: 1 } }] };
    expect(await (await ask({ stream: false })).json()).toMatchObject({
      object: 'chat.completion',
      choices: [
        {
          message: { content: 'ab', tool_calls: [{ function: { name: 'write', arguments: '{"a":1}' } }] },
          finish_reason: 'tool_calls',
        },
      ],
    });
  });

  it('hangs and is cut like a streamed one', async () => {
    step = { ending: 'reset' };
    await expect(ask({ stream: false })).rejects.toThrow();
    step = { ending: 'hang' };
    const abort = new AbortController();
    const answer = ask({ stream: false }, abort.signal).catch(() => 'aborted');
    await eventually(() => expect(model.requests).toHaveLength(2));
    expect(model.requests[1]?.outcome).toBeUndefined();
    abort.abort();
    expect(await answer).toBe('aborted');
  });
});

describe('the conversation of requests', () => {
  it('numbers each one, says what was asked and how it ended', async () => {
    step = { text: ['x'] };
    const text = [{ type: 'text', text: 'first' }, { type: 'image' }, { type: 'text', text: 'second' }];
    await (await ask({ messages: [user('old'), assistant, user(text), assistant, { role: 'tool' }] })).text();
    await (await ask({ tools: undefined, messages: [] })).text();
    expect(model.requests).toEqual([
      {
        number: 0,
        model: 'scripted',
        messages: expect.any(Array),
        userText: 'first\n\nsecond',
        step: 1,
        tools: ['write', 'bash'],
        kind: 'turn',
        outcome: 'completed',
      },
      {
        number: 1,
        model: 'scripted',
        messages: [],
        userText: '',
        step: 0,
        tools: [],
        kind: 'other',
        outcome: 'completed',
      },
    ]);
    expect(model.turnRequests).toEqual([model.requests[0]]);
  });

  it('counts nothing but questions to the model', async () => {
    expect(await (await fetch(`${model.url}/v1/models`)).json()).toEqual({ object: 'list', data: [] });
    expect((await fetch(`${model.url}/v1/responses`, { method: 'POST', body: '{}' })).status).toBe(404);
    await expect(
      fetch(`${model.url}/v1/chat/completions`, { method: 'POST', body: 'no JSON' }),
    ).rejects.toThrow();
    expect(model.requests).toEqual([]);
  });
});

describe('the end', () => {
  it.each([
    ['hangs', { text: ['half'], ending: 'hang' }],
    ['waits', { text: ['half', 'never'], chunkDelayMs: 0, gate: new Promise(() => undefined), gateAt: 1 }],
    ['sleeps', { text: ['half', 'late'], gate: Promise.resolve(), chunkDelayMs: 20, ending: 'hang' }],
  ] as const)('comes at once while an answer %s', async (_what, said) => {
    step = said as Step;
    const reader = await readUntil(await ask(), 'half');
    await model.stop();
    await expect(reader.closed).rejects.toThrow();
    await eventually(() => expect(model.requests[0]?.outcome).toBe('aborted'));
    const socket = connect(Number(new URL(model.url).port), '127.0.0.1');
    const [error] = await once(socket, 'error');
    expect(error.code).toBe('ECONNREFUSED');
  });

  it('may come twice', async () => {
    await model.stop();
    await model.stop();
  });
});
