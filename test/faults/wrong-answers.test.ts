import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { RunningWorker, StoredTurn, Turns } from '../../src/index.ts';
import { serverAddress } from '../../src/opencode/address.ts';
import { openCodeClient } from '../../src/opencode/v1/client.ts';
import type { OpenCode } from '../../src/opencode/v1/server.ts';
import { deferred } from '../support/deferred.ts';
import { eventually } from '../support/eventually.ts';
import { openCode2 } from '../support/opencode-2x.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { followAll, newConversation, runTurn } from '../support/turns.ts';
import {
  type ProxiedRequest,
  type Substitute,
  startUpstreamProxy,
  type UpstreamProxy,
} from '../support/upstream-proxy.ts';
import { expectWholeStory } from './promises.ts';

const asks = [{ permission: 'bash', pattern: '*', action: 'ask' as const }];
const json = { 'content-type': 'application/json' };
const html = { 'content-type': 'text/html' };
const text = { 'content-type': 'text/plain' };
const page = '<!doctype html><p>proxy</p>';
/** JSON that says nothing of what was asked. */
const other = '{"ok":true}';
const sessionGone = '{"name":"NotFoundError","data":{"message":"Session not found: ses_x"}}';

let system: TestSystem;
let proxy: UpstreamProxy;
let turns: Turns;
let worker: RunningWorker;
let client: OpenCode;
/** A conversation with a session and a finished turn, so that a new session would be seen. */
let conversation: string;
let sessionId: string;

beforeAll(async () => {
  system = await startSystem();
  const { url, password = '' } = system.opencode;
  proxy = await startUpstreamProxy(url);
  client = openCodeClient({ address: serverAddress(url, undefined, password) });
  turns = await system.connect({ opencode: { url: proxy.url, password } });
  const short = { wrongAnswerTimeoutMs: 1_500, cancelTimeoutMs: 2_000 };
  worker = await turns.work({
    policies: {
      default: system.policy,
      asking: { ...system.policy, permissions: asks },
      impatient: { ...system.policy, limits: short },
    },
  });
  system.respond(() => ({ text: ['the ', 'answer'] }));
  conversation = await newConversation(turns);
  sessionId = (await runTurn(turns, conversation, 'first')).stored.run.sessionId ?? '';
}, 120_000);
afterEach(() => {
  proxy.substitute(() => undefined);
  system.respond(() => ({ text: ['the ', 'answer'] }));
});
afterAll(async () => {
  await system.stop();
  await proxy.stop();
});

type Where = (request: ProxiedRequest) => boolean;

const prompts: Where = ({ method, path }) => method === 'POST' && path.endsWith('/prompt_async');
const creates: Where = ({ method, path }) => method === 'POST' && path === '/session';
const lists: Where = ({ path }) => /^\/session\/ses_\w+\/message$/.test(path);
const statuses: Where = ({ path }) => path === '/session/status';

/** The answer to the first request that is meant, and none after it. Answers how often it was given. */
function once(where: Where, substitute: Substitute): () => number {
  let given = 0;
  proxy.substitute((request) => {
    if (given > 0 || !where(request)) return undefined;
    given += 1;
    return substitute;
  });
  return () => given;
}

const applied = true;
const throttled = { status: 429, headers: { ...text, 'retry-after': '1' } };

describe('one wrong answer costs nothing but time', () => {
  it.each<[string, Where, Substitute]>([
    ["a proxy's 404 for the messages", lists, { status: 404, headers: text, body: 'default backend - 404' }],
    [
      'a 404 in the words of OpenCode for the messages',
      lists,
      { status: 404, headers: json, body: sessionGone },
    ],
    ['an answer of another kind for the messages', lists, { status: 200, headers: json, body: '{}' }],
    ['a page for the messages', lists, { status: 200, headers: html, body: page }],
    [
      'a 400 in the words of OpenCode for a status',
      statuses,
      { status: 400, headers: json, body: '{"_tag":"BadRequest"}' },
    ],
    ['a redirect for a status', statuses, { status: 302, headers: { location: 'http://127.0.0.1:1/login' } }],
    ...[401, 403, 404, 405, 408, 413, 425, 429, 502].map((status): [string, Where, Substitute] => [
      `${status} for a status`,
      statuses,
      { status, headers: text, body: 'no' },
    ]),
    ["a proxy's 404 for a prompt that arrived", prompts, { status: 404, headers: text, body: 'no', applied }],
    ["a proxy's 404 for a prompt that did not", prompts, { status: 404, headers: text, body: 'no' }],
    [
      'a 404 in the words of OpenCode for a prompt that arrived',
      prompts,
      { status: 404, headers: json, body: sessionGone, applied },
    ],
    [
      'a 404 in the words of OpenCode for a prompt that did not',
      prompts,
      { status: 404, headers: json, body: sessionGone },
    ],
    ['401 for a prompt that arrived', prompts, { status: 401, applied }],
    ['a page for a prompt that arrived', prompts, { status: 200, headers: html, body: page, applied }],
    ['another JSON for a prompt that arrived', prompts, { status: 200, headers: json, body: other, applied }],
    ['another JSON for a prompt that did not', prompts, { status: 200, headers: json, body: other }],
    ['429 for a prompt that arrived', prompts, { ...throttled, applied }],
    ['429 for a prompt that did not', prompts, throttled],
    ['503 for a prompt that did not', prompts, { ...throttled, status: 503 }],
  ])('%s', async (name, where, substitute) => {
    const given = once(where, substitute);
    const before = system.model.turnRequests.length;
    const { stored, entries } = await runTurn(turns, conversation, name);
    expect(given()).toBe(1);
    expect(stored).toMatchObject({
      status: 'completed',
      text: 'the answer',
      run: { sessionId, resends: 0, reruns: 0 },
    });
    expectWholeStory(entries, stored);
    expect(system.model.turnRequests.length - before).toBe(1);
    const messages = await client.messages(sessionId);
    expect(
      messages.filter(({ parts }) => parts.some((part) => 'text' in part && part.text === name)),
    ).toHaveLength(1);
  });

  it('the time that a throttled prompt is asked to wait is waited', async () => {
    once(prompts, throttled);
    const from = proxy.requests.length;
    await runTurn(turns, conversation, 'patience');
    const [first, second, ...more] = proxy.requests.slice(from).filter(prompts);
    expect(more).toEqual([]);
    expect((second?.at ?? 0) - (first?.at ?? 0)).toBeGreaterThanOrEqual(1_000);
  });

  it.each<[string, Substitute]>([
    ['429 for a session that was not made', throttled],
    ['429 for a session that was made', { ...throttled, applied }],
    ["a proxy's 404 for a session that was made", { status: 404, headers: text, body: 'no', applied }],
    ['401 for a session that was made', { status: 401, applied }],
    [
      'a 404 in the words of OpenCode for a session that was made',
      { status: 404, headers: json, body: sessionGone, applied },
    ],
    [
      'a 404 in the words of OpenCode for a session that was not made',
      { status: 404, headers: json, body: sessionGone },
    ],
    [
      'a redirect for a session that was not made',
      { status: 307, headers: { location: 'http://127.0.0.1:1/' } },
    ],
  ])('%s, and leaves no session that nobody owns', async (_, substitute) => {
    const given = once(creates, substitute);
    const fresh = await newConversation(turns);
    const { stored } = await runTurn(turns, fresh, 'hello');
    expect(given()).toBe(1);
    expect(stored).toMatchObject({
      status: 'completed',
      text: 'the answer',
      run: { resends: 0, reruns: 0 },
    });
    const sessions = await client.sessions(system.policy.directory());
    const ours = sessions.filter(({ metadata }) => metadata?.opencodeTurnsConversation === fresh);
    expect(ours.map(({ id }) => id)).toEqual([stored.run.sessionId]);
  });

  it("another conversation's session for one that was made: that one is kept, and the mint is made again", async () => {
    const other = await client.getSession(sessionId);
    let given = 0;
    proxy.rewrite((request) => (creates(request) && given++ === 0 ? () => other : undefined));
    const fresh = await newConversation(turns);
    const { stored } = await runTurn(turns, fresh, 'hello');
    proxy.rewrite(() => undefined);
    expect(given).toBe(2);
    expect(stored).toMatchObject({ status: 'completed', run: { resends: 0, reruns: 0 } });
    expect(stored.run.sessionId).not.toBe(sessionId);
    const sessions = await client.sessions(system.policy.directory());
    const ours = sessions.filter(({ metadata }) => metadata?.opencodeTurnsConversation === fresh);
    expect(ours.map(({ id }) => id)).toEqual([stored.run.sessionId]);
    expect((await client.messages(sessionId)).length).toBeGreaterThan(0);
  });

  it('"not found" for an answer whose question is open: it is sent again', async () => {
    const bash = [{ name: 'bash', input: { command: 'echo x', description: 'x' } }];
    system.respond(({ step }) => (step === 0 ? { tools: bash } : { text: ['done'] }));
    const fresh = await newConversation(turns);
    const { id } = await turns.enqueue({ conversation: fresh, text: 'ask me', policy: 'asking' });
    const ended = followAll(turns, id);
    const requestId = await eventually(async () => {
      const open = (await turns.get(id))?.requests[0]?.requestId;
      if (!open) throw new Error('no prompt yet');
      return open;
    }, 30_000);
    const body = JSON.stringify({ _tag: 'PermissionNotFoundError', requestID: requestId, message: 'gone' });
    const given = once(({ path }) => path.startsWith('/permission/per_'), {
      status: 404,
      headers: json,
      body,
    });
    await turns.answer(id, requestId, { kind: 'permission', reply: 'once' });
    await ended;
    expect(given()).toBe(1);
    expect(await turns.get(id)).toMatchObject({
      status: 'completed',
      text: 'done',
      requests: [{ state: 'answered' }],
    });
  });
});

describe('wrong answers that stay end the turn with what they are', () => {
  /** A turn that streams, and holds. */
  async function held(policy: string) {
    const release = deferred();
    const asked = system.model.turnRequests.length;
    system.respond(() => ({ text: ['one ', 'two'], gate: release.promise, gateAt: 1 }));
    const { id } = await turns.enqueue({ conversation, text: 'hold', policy });
    const ended = followAll(turns, id).then(async () => (await turns.get(id)) as StoredTurn);
    ended.catch(() => undefined);
    await eventually(() => expect(system.model.turnRequests.length).toBe(asked + 1), 30_000);
    return { id, ended, release };
  }

  it.each<[string, string, Substitute]>([
    ['a wrong password', 'upstream_authentication', { status: 401 }],
    [
      'a redirect',
      'upstream_redirect',
      { status: 302, headers: { location: 'http://127.0.0.1:1/login?next=secret' } },
    ],
    ['a page', 'upstream_foreign_answer', { status: 200, headers: html, body: page }],
    ['a 404', 'upstream_foreign_answer', { status: 404, headers: text, body: 'no' }],
  ])('%s in the middle of a turn', async (_, reason, substitute) => {
    const { ended, release } = await held('impatient');
    proxy.substitute(() => substitute);
    const before = system.model.turnRequests.length;
    // The stream is told, too: whoever listens looks, as after every gap.
    system.respond(() => ({ text: ['the ', 'answer'] }));
    release.resolve();
    const stored = await ended;
    expect(stored).toMatchObject({ status: 'error', error: { reason }, run: { resends: 0, reruns: 0 } });
    expect(JSON.stringify(stored.error)).not.toContain('secret');
    expect(system.model.turnRequests.length).toBe(before);
  });

  it('a wrong password from the beginning: nothing is asked', async () => {
    proxy.substitute(() => ({ status: 401 }));
    const before = system.model.turnRequests.length;
    const { stored } = await runTurn(turns, conversation, 'no password', 'impatient');
    expect(stored).toMatchObject({ status: 'error', error: { reason: 'upstream_authentication' } });
    expect(system.model.turnRequests.length).toBe(before);
  });
});

describe('another server in the middle of a run', () => {
  const unknown = { status: 404, headers: text, body: 'Not Found' };
  it.each<[string, (request: ProxiedRequest) => Substitute | undefined]>([
    ['that is OpenCode 2', openCode2],
    ['that is a web page', () => ({ status: 200, headers: html, body: page })],
    ['that knows nothing', () => unknown],
    ['that knows no status', (request) => (statuses(request) ? unknown : undefined)],
  ])(
    '%s for a moment costs nothing but time',
    async (_, substitute) => {
      const before = system.model.turnRequests.length;
      const release = deferred();
      system.respond(() => ({ text: ['one ', 'two'], gate: release.promise, gateAt: 1 }));
      const { id } = await turns.enqueue({ conversation, text: 'moment' });
      const ended = followAll(turns, id);
      await eventually(async () => expect((await turns.get(id))?.run.phase).toBe('prompted'), 30_000);
      await eventually(() => expect(system.model.turnRequests.length).toBe(before + 1), 30_000);
      const from = proxy.requests.length;
      let given = 0;
      proxy.substitute((request) => {
        const answer = substitute(request);
        if (answer) given += 1;
        return answer;
      });
      release.resolve();
      // Asked again and again, and never answered as ours.
      await eventually(() => expect(given).toBeGreaterThanOrEqual(6), 20_000);
      expect((await turns.get(id))?.status).toBe('pending');
      proxy.substitute(() => undefined);
      await ended;
      expect(await turns.get(id)).toMatchObject({
        status: 'completed',
        text: 'one two',
        run: { sessionId, resends: 0, reruns: 0, epoch: 1 },
      });
      expect(system.model.turnRequests.length).toBe(before + 1);
      const posts = proxy.requests.slice(from).filter(({ method }) => method !== 'GET');
      expect(posts).toEqual([]);
    },
    60_000,
  );

  it('is not taken for the one that runs the turn: a cancel reaches that one when it is back', async () => {
    const before = system.model.turnRequests.length;
    system.respond(() => ({ text: ['one ', 'two'], gate: deferred().promise, gateAt: 1 }));
    const { id } = await turns.enqueue({ conversation, text: 'cancel' });
    const ended = followAll(turns, id);
    await eventually(async () => expect((await turns.get(id))?.run.phase).toBe('prompted'), 30_000);
    await eventually(() => expect(system.model.turnRequests.length).toBe(before + 1), 30_000);
    const from = proxy.requests.length;
    proxy.substitute(openCode2);
    await turns.cancel(id);
    await eventually(() => expect(proxy.requests.length).toBeGreaterThan(from + 6), 20_000);
    proxy.substitute(() => undefined);
    await ended;
    const stored = await turns.get(id);
    expect(stored).toMatchObject({ status: 'cancelled' });
    expect(stored?.error).toBeUndefined();
    await eventually(() => expect(system.model.turnRequests[before]?.outcome).toBe('aborted'));
  }, 60_000);
});

describe('a server that speaks another protocol', () => {
  const isProbe = ({ method, path }: ProxiedRequest) =>
    method === 'GET' && ['/global/health', '/api/info', '/api/health', '/event'].includes(path);

  it('in the place of one that a session lives on ends its turns, and nothing is asked there', async () => {
    const release = deferred();
    system.respond(() => ({ text: ['one ', 'two'], gate: release.promise, gateAt: 1 }));
    const { id } = await turns.enqueue({ conversation, text: 'run', policy: 'impatient' });
    const ended = followAll(turns, id);
    await eventually(async () => expect((await turns.get(id))?.run.phase).toBe('prompted'), 30_000);
    const from = proxy.requests.length;
    proxy.substitute(openCode2);
    release.resolve();
    await ended;
    const unsupported = {
      status: 'error',
      error: { reason: 'unsupported_server', detail: expect.stringMatching(/OpenCode 2\.0\.26; .* 1\.x/) },
      run: { resends: 0, reruns: 0 },
    };
    expect(await turns.get(id)).toMatchObject(unsupported);
    const [inOld, inNew] = [
      await runTurn(turns, conversation, 'next'),
      await runTurn(turns, await newConversation(turns), 'new'),
    ];
    expect(inOld.stored).toMatchObject(unsupported);
    expect(inNew.stored).toMatchObject(unsupported);
    // The first poll may be under way while the server changes.
    const strays = proxy.requests.slice(from).filter((request) => !isProbe(request));
    expect(strays.filter(({ method }) => method !== 'GET')).toEqual([]);
    proxy.substitute(() => undefined);
    system.respond(() => ({ text: ['the ', 'answer'] }));
    expect((await runTurn(turns, conversation, 'back')).stored).toMatchObject({ status: 'completed' });
  });
});

it('a redirected prompt takes the words nowhere', async () => {
  const visited: string[] = [];
  const elsewhere = createServer((request, response) => {
    visited.push(String(request.url));
    response.writeHead(204).end();
  });
  await new Promise<void>((resolve) => elsewhere.listen(0, '127.0.0.1', resolve));
  const { port } = elsewhere.address() as AddressInfo;
  try {
    once(prompts, { status: 307, headers: { location: `http://127.0.0.1:${port}/` } });
    const { stored } = await runTurn(turns, conversation, 'for nobody else');
    expect(stored).toMatchObject({ status: 'completed', run: { sessionId, resends: 0 } });
  } finally {
    elsewhere.close();
  }
  expect(visited).toEqual([]);
});

it('leaves no turn behind', async () => {
  await eventually(() => expect(worker.active).toBe(0));
});
