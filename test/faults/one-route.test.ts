import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { InputAnswer, RunningWorker, Turns } from '../../src/index.ts';
import { eventually } from '../support/eventually.ts';
import { collectGarbage } from '../support/garbage.ts';
import {
  type HttpAnswer,
  type HttpCommand,
  type HttpReply,
  HttpReplyProxy,
} from '../support/http-reply-proxy.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { followAll, newConversation, runTurn } from '../support/turns.ts';

type Where = (command: HttpCommand) => boolean;

const html = { 'content-type': 'text/html' };
const json = { 'content-type': 'application/json' };
const page = '<!doctype html><p>proxy</p>';
const broken: HttpReply = { status: 500, headers: json, body: '{"name":"UnknownError","data":{}}' };

const prompts: Where = ({ method, path }) => method === 'POST' && path.endsWith('/prompt_async');
const creates: Where = ({ method, path }) => method === 'POST' && path === '/session';
const messages: Where = ({ method, path }) => method === 'GET' && /^\/session\/ses_\w+\/message/.test(path);
const events: Where = ({ path }) => path === '/event';
const asking = [{ permission: 'bash', pattern: '*', action: 'ask' as const }];
const always = Number.POSITIVE_INFINITY;

let system: TestSystem;
let proxy: HttpReplyProxy;
let turns: Turns;
let worker: RunningWorker;

beforeAll(async () => {
  system = await startSystem();
  const { url, password = '' } = system.opencode;
  proxy = await HttpReplyProxy.start(url);
  turns = await system.connect({ opencode: { url: proxy.url, password } });
  const short = { wrongAnswerTimeoutMs: 1_500, cancelTimeoutMs: 1_000, turnTimeoutMs: 30_000 };
  worker = await turns.work({
    policies: {
      default: system.policy,
      // A directory of its own, whose event stream nobody has opened yet.
      deaf: { ...system.policy, directory: () => path.join(system.sandboxRoot, 'deaf') },
      impatient: { ...system.policy, limits: short },
      patient: { ...system.policy, limits: { cancelTimeoutMs: 1_000, turnTimeoutMs: 120_000 } },
      asking: { ...system.policy, limits: { ...short, turnTimeoutMs: 120_000 }, permissions: asking },
      away: { ...system.policy, limits: { ...short, upstreamAwayMs: 4_000 } },
    },
  });
  system.respond(() => ({ text: ['the ', 'answer'] }));
  await runTurn(turns, await newConversation(turns), 'the server knows us');
}, 120_000);
afterEach(() => proxy.clear());
afterAll(async () => {
  await system.stop();
  await proxy.stop();
});

describe('a server that answers one question wrongly, and all others well, is not waited for long', () => {
  it.each<[string, string, Where, HttpAnswer, number]>([
    ['500 for the prompt', 'upstream_server', prompts, broken, 0],
    ['502 for the prompt', 'upstream_server', prompts, { status: 502, headers: html, body: page }, 0],
    ['404 for the prompt', 'upstream_foreign_answer', prompts, { status: 404, headers: html }, 0],
    [
      'a page for the prompt',
      'upstream_foreign_answer',
      prompts,
      { status: 200, headers: html, body: page },
      0,
    ],
    ['500 for a new session', 'upstream_server', creates, broken, 0],
    ['500 for the messages', 'upstream_server', messages, broken, 1],
    ['a reset for the prompt', 'upstream_connection', prompts, 'reset', 0],
    ['a reset for a new session', 'upstream_connection', creates, 'reset', 0],
    ['a reset for the messages', 'upstream_connection', messages, 'reset', 1],
  ])('%s', async (name, reason, at, reply, asked) => {
    const before = system.model.turnRequests.length;
    const placed = proxy.replace({ at, executed: false, reply, times: always });
    const { stored } = await runTurn(turns, await newConversation(turns), name, 'impatient');
    expect(stored).toMatchObject({ status: 'error', error: { reason }, run: { resends: 0, reruns: 0 } });
    expect(placed.hits.length).toBeGreaterThan(1);
    expect(system.model.turnRequests.length - before).toBe(asked);
  });

  it('a prompt whose arrival cannot be looked up is not sent again', async () => {
    const from = proxy.commands.length;
    proxy.replace({ at: prompts, executed: true, reply: broken, times: always });
    proxy.replace({ at: messages, executed: false, reply: { status: 404, headers: html }, times: always });
    const { stored } = await runTurn(turns, await newConversation(turns), 'once', 'impatient');
    expect(stored).toMatchObject({ status: 'error', error: { reason: 'upstream_foreign_answer' } });
    expect(proxy.commands.slice(from).filter(prompts)).toHaveLength(1);
  });
});

it('a gateway without a route for events costs liveness and not the turn, whatever the collector takes', async () => {
  const placed = proxy.replace({
    at: events,
    executed: false,
    reply: { status: 404, headers: html },
    times: always,
  });
  const stop = collectGarbage();
  const { stored } = await runTurn(turns, await newConversation(turns), 'go', 'deaf').finally(stop);
  expect(stored).toMatchObject({ status: 'completed', text: 'the answer', run: { resends: 0, reruns: 0 } });
  expect(placed.hits.length).toBeGreaterThan(0);
}, 60_000);

describe('a server that is away as a whole', () => {
  const everywhere = { at: () => true, executed: false, reply: { status: 503, headers: html, body: page } };

  it('is waited for beyond that limit, followers are told, and the turn goes on when it is back', async () => {
    const conversation = await newConversation(turns);
    proxy.replace({ ...everywhere, times: always });
    const turn = runTurn(turns, conversation, 'patience', 'impatient');
    const from = performance.now();
    await eventually(() => expect(performance.now() - from).toBeGreaterThan(4_500), 20_000);
    proxy.clear();
    const { stored, entries } = await turn;
    expect(stored).toMatchObject({ status: 'completed', text: 'the answer', run: { resends: 0 } });
    expect(entries).toContainEqual(expect.objectContaining({ progress: 'waiting_for_server' }));
  });

  it('ends the turn after `upstreamAwayMs`', async () => {
    proxy.replace({ ...everywhere, times: always });
    const { stored } = await runTurn(turns, await newConversation(turns), 'too long', 'away');
    expect(stored).toMatchObject({
      status: 'error',
      error: { reason: 'deadline_upstream_away_ms', name: 'upstream_server' },
    });
  });
});

describe('an answer of a person that the server never takes, while it answers everything else', () => {
  const answers: Where = ({ method, path }) =>
    method === 'POST' && /^\/(question|permission)\/\w+\/(reply|reject)$/.test(path);
  const questions = [{ question: 'Which?', header: 'W', options: [{ label: 'A', description: 'a' }] }];
  const bash = { command: 'echo x', description: 'x' };
  const calls = { question: { questions }, bash };
  const replies: Record<keyof typeof calls, InputAnswer> = {
    question: { kind: 'question', answers: [['A']] },
    bash: { kind: 'permission', reply: 'once' },
  };
  const running = () => system.model.turnRequests.filter(({ outcome }) => outcome === undefined);

  /** A turn that has asked; the model says "done" once it was answered. */
  async function asked(tool: keyof typeof calls, policy: string) {
    system.respond(({ step }) =>
      step > 0 ? { text: ['done'] } : { tools: [{ name: tool, input: calls[tool] }] },
    );
    const { id } = await turns.enqueue({ conversation: await newConversation(turns), text: 'ask', policy });
    const ended = followAll(turns, id);
    const requestId = await eventually(async () => {
      const [request] = (await turns.get(id))?.requests ?? [];
      expect(request?.state).toBe('open');
      return request?.requestId as string;
    }, 30_000);
    return { id, ended, requestId, answer: () => turns.answer(id, requestId, replies[tool]) };
  }

  it.each<[string, keyof typeof calls, string, HttpAnswer]>([
    ['a question, reset', 'question', 'upstream_connection', 'reset'],
    ['a question, never answered', 'question', 'upstream_timeout', 'silence'],
    ['a question, 500', 'question', 'upstream_server', broken],
    ['a permission, reset', 'bash', 'upstream_connection', 'reset'],
    ['a permission, a page', 'bash', 'upstream_foreign_answer', { status: 200, headers: html, body: page }],
  ])(
    'ends the turn: %s',
    async (_, tool, reason, reply) => {
      const turn = await asked(tool, 'asking');
      const placed = proxy.replace({ at: answers, executed: false, reply, times: always });
      expect(await turn.answer()).toBe(true);
      expect((await turn.ended).view.end).toMatchObject({ status: 'error', error: { reason } });
      expect(await turns.get(turn.id)).toMatchObject({
        requests: [{ state: 'closed' }],
        run: { resends: 0, reruns: 0 },
      });
      expect(placed.hits.length).toBeGreaterThan(1);
      expect(running()).toEqual([]);
      // Nobody goes on with it behind the end.
      const sent = placed.hits.length;
      system.respond(() => ({ text: ['fine'] }));
      await runTurn(turns, await newConversation(turns), 'another');
      expect(placed.hits).toHaveLength(sent);
    },
    120_000,
  );

  it('ends the turn when the server cannot list what is asked, either', async () => {
    const turn = await asked('bash', 'asking');
    const lists: Where = ({ method, path }) => method === 'GET' && path === '/permission';
    const unlistable: HttpReply = { status: 400, headers: json, body: '{"_tag":"BadRequest"}' };
    proxy.replace({ at: lists, executed: false, reply: unlistable, times: always });
    proxy.replace({ at: answers, executed: false, reply: 'reset', times: always });
    await turn.answer();
    const error = { reason: 'upstream_connection' };
    expect((await turn.ended).view.end).toMatchObject({ status: 'error', error });
  }, 120_000);

  it('does not keep a cancel from being heard', async () => {
    const turn = await asked('question', 'patient');
    const placed = proxy.replace({ at: answers, executed: false, reply: 'reset', times: always });
    await turn.answer();
    await eventually(() => expect(placed.hits.length).toBeGreaterThan(0));
    await turns.cancel(turn.id);
    expect((await turn.ended).view.end).toMatchObject({ status: 'cancelled' });
  }, 120_000);

  it('is not sent again when it has arrived, and only what the server said to it was lost', async () => {
    const turn = await asked('question', 'asking');
    const placed = proxy.replace({ at: answers, executed: true, reply: broken, times: always });
    await turn.answer();
    expect((await turn.ended).view.end).toMatchObject({ status: 'completed' });
    expect(await turns.get(turn.id)).toMatchObject({ text: 'done', requests: [{ state: 'answered' }] });
    expect(placed.hits).toHaveLength(1);
  }, 60_000);
});

it('leaves no turn behind', async () => {
  await eventually(() => expect(worker.active).toBe(0));
});
