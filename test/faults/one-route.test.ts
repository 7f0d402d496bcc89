import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { RunningWorker, Turns } from '../../src/index.ts';
import { eventually } from '../support/eventually.ts';
import { type HttpCommand, type HttpReply, HttpReplyProxy } from '../support/http-reply-proxy.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { newConversation, runTurn } from '../support/turns.ts';

type Where = (command: HttpCommand) => boolean;

const html = { 'content-type': 'text/html' };
const json = { 'content-type': 'application/json' };
const page = '<!doctype html><p>proxy</p>';
const broken: HttpReply = { status: 500, headers: json, body: '{"name":"UnknownError","data":{}}' };

const prompts: Where = ({ method, path }) => method === 'POST' && path.endsWith('/prompt_async');
const creates: Where = ({ method, path }) => method === 'POST' && path === '/session';
const messages: Where = ({ method, path }) => method === 'GET' && /^\/session\/ses_\w+\/message/.test(path);
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
      impatient: { ...system.policy, limits: short },
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
  it.each<[string, string, Where, HttpReply, number]>([
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

it('leaves no turn behind', async () => {
  await eventually(() => expect(worker.active).toBe(0));
});
