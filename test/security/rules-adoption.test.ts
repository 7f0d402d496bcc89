import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { RunningWorker, StoredTurn, TurnPolicy, Turns } from '../../src/index.ts';
import { deferred } from '../support/deferred.ts';
import { eventually } from '../support/eventually.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { followAll, newConversation, runTurn } from '../support/turns.ts';
import { startUpstreamProxy, type UpstreamProxy } from '../support/upstream-proxy.ts';

/** A deploy between the owner that stored a prompt's ids and the one that posts it: another policy under the same name. */
let system: TestSystem;
let proxy: UpstreamProxy;
let turns: Turns;
let worker: RunningWorker | undefined;
let test = 0;

type Rules = NonNullable<TurnPolicy['permissions']>;
const permissive: Rules = [{ permission: '*', pattern: '*', action: 'allow' }];
const strict: Rules = [
  { permission: '*', pattern: '*', action: 'allow' },
  { permission: 'bash', pattern: '*', action: 'deny' },
];
/** Says nothing of what the others decide: only a session without rules behaves like it. */
const silent: Rules = [{ permission: 'bash', pattern: '*', action: 'deny' }];

beforeAll(async () => {
  system = await startSystem();
  proxy = await startUpstreamProxy(system.opencode.url);
  const password = system.opencode.password ?? '';
  turns = await system.connect({ opencode: { url: proxy.url, password } });
}, 90_000);
afterAll(async () => {
  await leave();
  await proxy?.stop();
  await system.stop();
});
beforeEach(async () => {
  proxy.before(() => undefined);
  // A server that has read settings goes on writing beside them for a while: no test works where another one did.
  test += 1;
  await deploy(permissive);
});

const directory = () => path.join(system.policy.directory(), `test-${test}`);
const place = (name: string) => path.join(directory(), name);
const posts = (from: number) =>
  proxy.requests.slice(from).filter(({ path: route }) => route.endsWith('/prompt_async')).length;

async function leave(): Promise<void> {
  const leaving = worker;
  worker = undefined;
  await leaving?.stop(0);
}

async function deploy(permissions: Rules): Promise<void> {
  await leave();
  const policies = { default: { ...system.policy, permissions, directory } };
  worker = await turns.work({ policies, lockMs: 2_000, stalledCheckMs: 1_000 });
}

/** A conversation whose session was made under the permissive policy. */
async function warm(): Promise<string> {
  const conversation = await newConversation(turns);
  system.respond(() => ({ text: ['Hello.'] }));
  await runTurn(turns, conversation, 'warm');
  return conversation;
}

const bash = { name: 'bash', input: { command: 'touch mark', description: 'leaves a mark' } };

/** Stored ids, a POST that never arrives, and the owner has left. */
async function leftPrompting(): Promise<string> {
  const conversation = await warm();
  system.respond(({ step }) => (step === 0 ? { tools: [bash] } : { text: ['Done.'] }));
  const gate = deferred();
  const cut = gate.promise.then(() => Promise.reject(new Error('cut')));
  cut.catch(() => undefined);
  const from = proxy.requests.length;
  proxy.before(({ path: route }) => (route.endsWith('/prompt_async') ? cut : undefined));
  const { id } = await turns.enqueue({ conversation, text: 'go' });
  await eventually(() => expect(posts(from)).toBe(1), 20_000);
  const left = leave();
  gate.resolve();
  await left;
  proxy.before(() => undefined);
  expect(await turns.get(id)).toMatchObject({ status: 'pending', run: { phase: 'prompting' } });
  return id;
}

/** A run that the server has lost, and the owner has left. */
async function leftLost(): Promise<string> {
  const conversation = await warm();
  const before = system.model.turnRequests.length;
  system.respond(() => ({ text: ['never'], ending: 'hang' }));
  const { id } = await turns.enqueue({ conversation, text: 'go' });
  await eventually(async () => expect((await turns.get(id))?.run.phase).toBe('prompted'), 20_000);
  await eventually(() => expect(system.model.turnRequests.length).toBe(before + 1), 20_000);
  await leave();
  let asked = 0;
  system.respond(() => {
    asked += 1;
    return asked === 1 ? { tools: [bash] } : { text: ['Done.'] };
  });
  await system.opencode.restart();
  return id;
}

async function ended(id: string) {
  const from = proxy.requests.length;
  const { sessionId: before } = (await turns.get(id))?.run ?? {};
  const asked = system.model.turnRequests.length;
  return {
    adopt: async (permissions: Rules) => {
      await deploy(permissions);
      await followAll(turns, id);
      const stored = (await turns.get(id)) as StoredTurn;
      return {
        stored,
        posts: posts(from),
        sameSession: stored.run.sessionId === before,
        asked: system.model.turnRequests.length - asked,
        marked: existsSync(place('mark')),
      };
    },
  };
}

const ways = [
  ['whose POST never arrived', leftPrompting, 0],
  ['whose run was lost', leftLost, 1],
] as const;

describe.each(ways)('a turn %s, and whose policy was made stricter meanwhile', (_name, left, reruns) => {
  it('runs under the rules of now, in its session', async () => {
    const { adopt } = await ended(await left());
    expect(await adopt(strict)).toMatchObject({
      stored: { status: 'completed', run: { reruns, resends: 0 } },
      posts: 1,
      sameSession: true,
      marked: false,
    });
  }, 90_000);

  it('is not prompted where settings of the server were put meanwhile', async () => {
    const { adopt } = await ended(await left());
    mkdirSync(place('.opencode/plugin'), { recursive: true });
    writeFileSync(place('.opencode/plugin/evil.js'), '');
    expect(await adopt(permissive)).toMatchObject({
      stored: { status: 'error', error: { reason: 'server_config_files' } },
      posts: 0,
      asked: 0,
      marked: false,
    });
  }, 90_000);
});

describe('rules that the session cannot be given', () => {
  it('get a turn whose POST never arrived a new session', async () => {
    const { adopt } = await ended(await leftPrompting());
    expect(await adopt(silent)).toMatchObject({
      stored: { status: 'completed', run: { reruns: 0, resends: 0 } },
      posts: 1,
      sameSession: false,
      marked: false,
    });
  }, 90_000);

  it('end a turn whose run was lost', async () => {
    const { adopt } = await ended(await leftLost());
    expect(await adopt(silent)).toMatchObject({
      stored: { status: 'error', error: { reason: 'policy_not_applied' } },
      posts: 0,
      asked: 0,
      marked: false,
    });
  }, 90_000);
});
