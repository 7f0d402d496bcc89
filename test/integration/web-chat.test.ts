import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { createParser, type EventSourceMessage } from 'eventsource-parser';
import { Redis } from 'ioredis';
import { streamKeys } from '../../src/redis/turn-stream.ts';
import { applyEntry, emptyView, type TurnEntry } from '../../src/view.ts';
import { deferred } from '../support/deferred.ts';
import { eventually } from '../support/eventually.ts';
import { exampleEnvironment } from '../support/example-environment.ts';
import { startSystem, type TestSystem } from '../support/system.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const bash = { name: 'bash', input: { command: 'echo x', description: 'test' } };
const gate = deferred();
let system: TestSystem;
let server: ChildProcess;
let base: string;
let conversation: string | undefined;

beforeAll(async () => {
  system = await startSystem();
  system.respond(({ userText, step }) => {
    if (userText === 'ask') return step === 0 ? { tools: [bash] } : { text: ['Done.'] };
    if (userText === 'hold') return { text: ['Let me ', 'think'], gate: gate.promise, gateAt: 1 };
    return { text: ['You said: ', userText] };
  });
  server = spawn(process.execPath, ['--import', 'tsx', 'examples/web-chat/server.ts'], {
    cwd: root,
    env: { ...exampleEnvironment(system, 'web-chat'), PORT: '0' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(createInterface({ input: server.stdout as never }), 'line')) as [string];
  base = line.trim();
  conversation = (await post('/conversations')).id;
}, 90_000);
afterAll(async () => {
  gate.resolve();
  server.kill('SIGKILL');
  await system.stop();
});

interface Answer {
  readonly status: number;
  readonly id?: string;
  readonly result?: string;
  readonly open?: boolean;
}

async function post(path: string, body: object = {}, headers: Record<string, string> = {}): Promise<Answer> {
  const response = await fetch(`${base}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
  const answer = (await response.json().catch(() => ({}))) as object;
  return { status: response.status, ...answer };
}

const say = (text: string, idempotencyKey = text || 'nothing') =>
  post(`/conversations/${conversation}/turns`, { text, idempotencyKey });

/** What a browser gets of a turn, whole: each event with its id and its entry. */
async function events(turnId: string | undefined, lastEventId?: string) {
  const headers = lastEventId === undefined ? {} : { 'last-event-id': lastEventId };
  const response = await fetch(`${base}/turns/${turnId}/events`, { headers });
  const messages: { id: string | undefined; entry: TurnEntry }[] = [];
  const onEvent = ({ id, data }: EventSourceMessage) =>
    messages.push({ id, entry: JSON.parse(data) as TurnEntry });
  createParser({ onEvent }).feed(await response.text());
  return { status: response.status, messages };
}

/** Reads until the text comes, does something then, and leaves. Answers what was read. */
async function eventsUntil(
  turnId: string | undefined,
  what: RegExp,
  then?: () => Promise<void>,
): Promise<string> {
  const response = await fetch(`${base}/turns/${turnId}/events`);
  let text = '';
  for await (const bytes of response.body ?? []) {
    text += Buffer.from(bytes).toString();
    if (!what.test(text)) continue;
    await then?.();
    return text;
  }
  throw new Error(`the stream ended without ${what}`);
}

it('streams a turn to its end; a browser that comes back misses and repeats nothing, and then comes no more', async () => {
  const { id } = await say('hello');
  expect((await say('hello')).id).toBe(id);
  const { messages } = await events(id);
  const view = messages.reduce((before, { entry }) => applyEntry(before, entry), emptyView);
  expect(view).toMatchObject({ status: 'completed', end: { text: 'You said: hello' } });
  for (const [at, { id: seen }] of messages.slice(0, -1).entries())
    expect((await events(id, seen)).messages).toEqual(messages.slice(at + 1));
  expect(await events(id, messages.at(-1)?.id)).toEqual({ status: 204, messages: [] });
});

it('goes on with a turn whose browser has left, until it is cancelled', async () => {
  const { id = '' } = await say('hold');
  const commands = new Redis(system.redis.url);
  const { channel } = streamKeys('example-web-chat', id);
  const listening = async () => (await commands.pubsub('NUMSUB', channel))[1];
  await eventsUntil(id, /Let me /, async () => expect(await listening()).toBe(1));
  await eventually(async () => expect(await listening()).toBe(0));
  await commands.quit();
  expect(await post(`/turns/${id}/cancel`)).toMatchObject({ result: 'requested' });
  const { messages } = await events(id);
  expect(messages.at(-1)?.entry).toMatchObject({ type: 'finished', status: 'cancelled', text: 'Let me ' });
});

it('shows what the agent asks, and takes the answer', async () => {
  const { id } = await say('ask');
  const asked = await eventsUntil(id, /"requestId":"per\w+"/);
  const requestId = /"requestId":"(per\w+)"/.exec(asked)?.[1];
  const answer = { kind: 'permission', reply: 'once' };
  expect(await post(`/turns/${id}/requests/${requestId}`, answer)).toMatchObject({ status: 200, open: true });
  expect((await events(id)).messages.at(-1)?.entry).toMatchObject({ status: 'completed', text: 'Done.' });
});

it('refuses what makes no sense, and other people’s pages', async () => {
  expect((await say('')).status).toBe(400);
  expect((await post('/conversations/x/turns', { text: 'x' })).status).toBe(400);
  expect((await events('0'.repeat(24))).status).toBe(404);
  const { id } = await say('hello');
  expect((await events(id, 'x')).status).toBe(400);
  const foreign = { 'content-type': 'text/plain', origin: 'https://elsewhere.example' };
  expect((await post('/conversations', {}, foreign)).status).toBe(403);
});

it('serves its page and the fold that the page needs, which needs nothing else', async () => {
  expect(await (await fetch(`${base}/page.js`)).text()).toContain('EventSource');
  const view = await fetch(`${base}/view.js`);
  expect(view.headers.get('content-type')).toContain('text/javascript');
  expect(await view.text()).not.toMatch(/^import /m);
});

it('leaves in order', async () => {
  server.kill('SIGTERM');
  expect(await once(server, 'exit')).toEqual([0, null]);
});
