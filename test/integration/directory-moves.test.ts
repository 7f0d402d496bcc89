import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it } from '@jest/globals';
import type { RunningWorker, StoredTurn, Turns } from '../../src/index.ts';
import { eventually } from '../support/eventually.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { followAll, newConversation, runTurn } from '../support/turns.ts';
import { startUpstreamProxy, type UpstreamProxy } from '../support/upstream-proxy.ts';

/** A policy whose directory follows the conversation's title, and titles that are changed between two turns. */
let system: TestSystem;
let proxy: UpstreamProxy;
let turns: Turns;
let worker: RunningWorker;

beforeAll(async () => {
  system = await startSystem();
  proxy = await startUpstreamProxy(system.opencode.url);
  turns = await system.connect({ opencode: { url: proxy.url, password: system.opencode.password ?? '' } });
  worker = await work();
}, 90_000);
afterAll(async () => {
  await worker?.stop(0);
  await proxy?.stop();
  await system.stop();
});
beforeEach(() => {
  system.reports.length = 0;
});

const place = (...names: string[]) => path.join(system.sandboxRoot, ...names);
const work = () =>
  turns.work({
    policies: {
      titled: {
        model: 'scripted/scripted',
        permissions: [{ permission: 'bash', pattern: '*', action: 'ask' }],
        directory: ({ title }) => place(title),
        defaultAttach: 'all',
      },
    },
    lockMs: 2_000,
    stalledCheckMs: 1_000,
  });

const rename = (conversation: string, title: string) =>
  turns.models.Conversation.updateOne({ _id: conversation }, { $set: { title } });

/** A conversation that has had a turn under its first title. */
async function begun(title: string): Promise<string> {
  const conversation = await newConversation(turns, title);
  system.respond(() => ({ text: ['Hello.'] }));
  await runTurn(turns, conversation, 'one', 'titled');
  return conversation;
}

const moves = () =>
  system.reports.filter(({ context }) => context.action === 'session.directory_changed').length;
const bash = { name: 'bash', input: { command: 'ls > seen.txt', description: 'looks' } };
const write = { name: 'write', input: { filePath: 'out.txt', content: 'x' } };

/** A turn with an upload, whose agent must be allowed to look around. */
async function asking(
  conversation: string,
  before: (id: string) => Promise<unknown> = async () => undefined,
) {
  system.respond(({ step }) => (step === 0 ? { tools: [bash, write] } : { text: ['Done.'] }));
  const files = [{ filename: 'mine.txt', contentType: 'text/plain', content: Buffer.from('x') }];
  const { id } = await turns.enqueue({ conversation, text: 'two', policy: 'titled', files });
  await eventually(async () => expect((await turns.get(id))?.requests).toHaveLength(1), 30_000);
  await before(id);
  const [request] = (await turns.get(id))?.requests ?? [];
  await turns.answer(id, request?.requestId ?? '', { kind: 'permission', reply: 'once' });
  await followAll(turns, id);
  return (await turns.get(id)) as StoredTurn;
}

it('all of a later turn is where the policy says for it: guard, uploads, requests, files and the prompt', async () => {
  const conversation = await begun('a');
  mkdirSync(place('a', '.opencode', 'plugin'), { recursive: true });
  writeFileSync(place('a', '.opencode', 'plugin', 'evil.js'), '// left by the agent of the first turn');
  await rename(conversation, 'b');
  const from = proxy.requests.length;
  const stored = await asking(conversation);
  expect(stored).toMatchObject({
    status: 'completed',
    artifacts: expect.arrayContaining([expect.objectContaining({ filename: 'out.txt' })]),
    run: { directory: place('b'), reruns: 0, resends: 0 },
  });
  expect(readdirSync(place('b')).sort()).toEqual(['mine.txt', 'out.txt', 'seen.txt']);
  const named = new Set(proxy.requests.slice(from).flatMap(({ directory }) => directory ?? []));
  expect([...named]).toEqual([place('b')]);
  expect(moves()).toBe(1);
  // What was left in the first one is met where a turn works there again.
  await rename(conversation, 'a');
  system.respond(() => ({ text: ['Hello.'] }));
  const { stored: back } = await runTurn(turns, conversation, 'three', 'titled');
  expect(back).toMatchObject({ status: 'error', error: { reason: 'server_config_files' } });
}, 90_000);

it('a turn that has a prompt stays where it is, also under another owner', async () => {
  const conversation = await begun('c');
  const stored = await asking(conversation, async () => {
    await worker.stop(0);
    await rename(conversation, 'd');
    worker = await work();
  });
  expect(stored).toMatchObject({
    status: 'completed',
    run: { directory: place('c'), reruns: 0, resends: 0 },
  });
  expect(readdirSync(place('c')).sort()).toEqual(['mine.txt', 'out.txt', 'seen.txt']);
  expect(existsSync(place('d'))).toBe(false);
}, 90_000);

it('of a session of which nobody has stored where it works, the server is asked once', async () => {
  const conversation = await begun('e');
  const sessionOf = async () => (await turns.models.Conversation.findById(conversation).lean()) ?? {};
  const forget = () =>
    turns.models.Conversation.updateOne({ _id: conversation }, { $unset: { opencodeDirectory: 1 } });
  const first = await sessionOf();
  expect(first).toMatchObject({ opencodeDirectory: place('e') });
  const asked = (from: number) =>
    proxy.requests.slice(from).filter(({ path: route }) => /^\/session\/ses_[^/]+$/.test(route)).length;

  await forget();
  const from = proxy.requests.length;
  await runTurn(turns, conversation, 'same', 'titled');
  await runTurn(turns, conversation, 'same', 'titled');
  expect(asked(from)).toBe(1);
  expect(await sessionOf()).toMatchObject({
    opencodeSessionId: (first as { opencodeSessionId?: string }).opencodeSessionId,
    opencodeDirectory: place('e'),
  });
  expect(moves()).toBe(0);

  await forget();
  await rename(conversation, 'f');
  const { stored } = await runTurn(turns, conversation, 'other', 'titled');
  expect(stored).toMatchObject({ status: 'completed', run: { directory: place('f') } });
  expect(await sessionOf()).toMatchObject({
    opencodeSessionId: stored.run.sessionId,
    opencodeDirectory: place('f'),
  });
  expect(moves()).toBe(1);
}, 90_000);
