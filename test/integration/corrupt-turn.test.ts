import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { parseJobData } from '../../src/bullmq/turn-job.ts';
import type { Turns } from '../../src/index.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { followAll, newConversation, runTurn } from '../support/turns.ts';
import { startUpstreamProxy, type UpstreamProxy } from '../support/upstream-proxy.ts';

let system: TestSystem;
let proxy: UpstreamProxy;
let turns: Turns;

beforeAll(async () => {
  system = await startSystem();
  proxy = await startUpstreamProxy(system.opencode.url);
  const password = system.opencode.password;
  turns = await system.connect({ opencode: { url: proxy.url, ...(password ? { password } : {}) } });
}, 90_000);
afterAll(async () => {
  await system.stop();
  await proxy.stop();
});
beforeEach(() => {
  system.reports.length = 0;
});

const ids = {
  sessionId: 'ses_0000000000000000000000000a',
  server: 'http://127.0.0.1:1',
  directory: '/nowhere',
  promptMessageId: 'msg_0000000000000000000000000a',
  promptPartId: 'prt_0000000000000000000000000a',
};
const run = { phase: 'prompted', epoch: 1, reruns: 0, resends: 0, ...ids };
const without = (name: keyof typeof ids) =>
  Object.fromEntries(Object.entries(run).filter(([key]) => key !== name));

/** What is stored on the assistant message, and what is wrong with it. */
const damages: readonly (readonly [string, Record<string, unknown>, RegExp])[] = [
  ...(Object.keys(ids) as (keyof typeof ids)[]).map(
    (name) => [`prompted without ${name}`, { run: without(name) }, new RegExp(name)] as const,
  ),
  [
    'prompting without a message',
    { run: { ...without('promptMessageId'), phase: 'prompting' } },
    /promptMess/,
  ],
  ['finalizing without a session', { run: { ...without('sessionId'), phase: 'finalizing' } }, /sessionId/],
  ['queued with a prompt', { run: { ...run, phase: 'queued' } }, /queued.*promptMessageId/],
  ['finished and pending', { run: { ...run, phase: 'finished' } }, /finished/],
  ['an unknown phase', { run: { ...run, phase: 'constructor' } }, /constructor/],
  ['no run at all', { run: { epoch: 0 } }, /phase/],
  ['a count that is none', { run: { ...run, reruns: '1' } }, /reruns/],
  ['a time that is none', { run: { ...run, startedAt: 'yesterday' } }, /startedAt/],
  ['parts that are no JSON', { run, parts: '[{' }, /parts/],
  ['parts that are no list', { run, parts: '{}' }, /parts/],
];

describe('a stored turn that makes no sense', () => {
  it.each(damages)('(%s) ends as corrupt_turn and touches nothing upstream', async (_, fields, message) => {
    system.respond(({ userText }) => ({ text: [`echo ${userText}`] }));
    const conversation = await newConversation(turns);
    const { id } = await turns.enqueue({ conversation, text: 'damaged' });
    await turns.models.Message.collection.updateOne(
      { _id: new turns.connection.base.Types.ObjectId(id) },
      { $set: fields },
    );
    const requests = proxy.requests.length;
    const asked = system.model.turnRequests.length;

    const worker = await turns.work({ policies: { default: system.policy } });
    const { view } = await followAll(turns, id);
    expect(view.end).toMatchObject({ status: 'error', error: { reason: 'corrupt_turn' } });
    const stored = await turns.get(id);
    expect(stored?.error?.detail).toMatch(message);
    const heard = proxy.requests
      .slice(requests)
      .filter(({ method, path }) => method !== 'GET' || /ses_/.test(path));
    expect(heard).toEqual([]);
    expect(system.model.turnRequests.length).toBe(asked);

    // The conversation is not blocked by it.
    expect((await runTurn(turns, conversation, 'next')).stored.text).toBe('echo next');
    await worker.stop(1_000);
  });

  it('(its user message is gone) is not asked without a word', async () => {
    const conversation = await newConversation(turns);
    const { id } = await turns.enqueue({ conversation, text: 'vanishes' });
    const before = system.model.turnRequests.length;
    await turns.models.Message.deleteOne({ conversation, role: 'user' });
    const worker = await turns.work({ policies: { default: system.policy } });
    expect((await followAll(turns, id)).view.end).toMatchObject({ error: { reason: 'corrupt_turn' } });
    expect(system.model.turnRequests.length).toBe(before);
    await worker.stop(1_000);
  });
});

it('a job that a newer release has added, with a field that this one does not know, is taken', () => {
  const known = { turnId: 'a'.repeat(24), conversationId: 'b'.repeat(24), policy: 'default' };
  expect(parseJobData({ ...known, priority: 1 }, 'turn-x')).toEqual({ turnId: known.turnId });
});
