import { existsSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it } from '@jest/globals';
import type { RunningWorker, TurnPolicy, Turns } from '../../src/index.ts';
import { serverAddress } from '../../src/opencode/address.ts';
import { openCodeClient } from '../../src/opencode/v1/client.ts';
import type { OpenCode } from '../../src/opencode/v1/server.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { newConversation, runTurn } from '../support/turns.ts';
import { startUpstreamProxy, type UpstreamProxy } from '../support/upstream-proxy.ts';

let system: TestSystem;
let proxy: UpstreamProxy;
let turns: Turns;
let worker: RunningWorker;
let client: OpenCode;

const anything: TurnPolicy['permissions'] = [{ permission: '*', pattern: '*', action: 'allow' }];
const noBash: TurnPolicy['permissions'] = [
  { permission: '*', pattern: '*', action: 'allow' },
  { permission: 'bash', pattern: '*', action: 'deny' },
];

beforeAll(async () => {
  system = await startSystem();
  proxy = await startUpstreamProxy(system.opencode.url);
  const password = system.opencode.password ?? '';
  turns = await system.connect({ opencode: { url: proxy.url, password } });
  client = openCodeClient({ address: serverAddress(system.opencode.url, undefined, password) });
  const { policy } = system;
  worker = await turns.work({
    policies: {
      permissive: { ...policy, permissions: anything },
      strict: { ...policy, permissions: noBash },
      // Says nothing of what the others decide: only a session without rules behaves like it.
      silent: { ...policy, permissions: [{ permission: 'webfetch', pattern: '*', action: 'deny' }] },
    },
  });
}, 90_000);
afterAll(async () => {
  await worker?.stop();
  await proxy?.stop();
  await system.stop();
});
beforeEach(() => proxy.instead(() => undefined));

const mark = (name: string) => path.join(system.policy.directory(), name);

/** The agent tries to leave a file by the shell. */
function tryBash(name: string): void {
  const input = { command: `touch ${mark(name)}`, description: 'leaves a mark' };
  system.respond(({ step }) => (step === 0 ? { tools: [{ name: 'bash', input }] } : { text: ['Done.'] }));
}

const asked = (from: number) =>
  proxy.requests.slice(from).filter(({ path: route }) => /^\/session\/ses_[^/]+(\/children)?$/.test(route));

async function sessionOf(conversation: string): Promise<string | undefined | null> {
  const stored = await turns.models.Conversation.findById(conversation).lean();
  return stored?.opencodeSessionId;
}

it('a turn runs under its own policy, not under the one that its session was minted under', async () => {
  const conversation = await newConversation(turns);
  tryBash('permissive');
  await runTurn(turns, conversation, 'go', 'permissive');
  expect(existsSync(mark('permissive'))).toBe(true);
  const session = await sessionOf(conversation);

  tryBash('strict');
  const before = system.model.turnRequests.length;
  const { stored } = await runTurn(turns, conversation, 'again', 'strict');
  expect(stored.status).toBe('completed');
  expect(existsSync(mark('strict'))).toBe(false);
  for (const { tools } of system.model.turnRequests.slice(before)) expect(tools).not.toContain('bash');
  // What was said before is still there for the model.
  expect(await sessionOf(conversation)).toBe(session);
  expect(system.model.turnRequests.at(-1)?.messages.map(({ content }) => JSON.stringify(content))).toEqual(
    expect.arrayContaining([expect.stringContaining('go')]),
  );

  tryBash('permissive-again');
  await runTurn(turns, conversation, 'and back', 'permissive');
  expect(existsSync(mark('permissive-again'))).toBe(true);
});

it('an unchanged policy asks the server nothing', async () => {
  const conversation = await newConversation(turns);
  system.respond(() => ({ text: ['Hello.'] }));
  await runTurn(turns, conversation, 'one', 'strict');
  const from = proxy.requests.length;
  await runTurn(turns, conversation, 'two', 'strict');
  expect(asked(from)).toEqual([]);
});

it('rules that the server cannot be made to forget get a new session', async () => {
  const conversation = await newConversation(turns);
  system.respond(() => ({ text: ['Hello.'] }));
  await runTurn(turns, conversation, 'one', 'strict');
  const old = await sessionOf(conversation);
  const { stored } = await runTurn(turns, conversation, 'two', 'silent');
  expect(stored).toMatchObject({ status: 'completed', run: { resends: 0, reruns: 0 } });
  const session = (await sessionOf(conversation)) ?? '';
  expect(session).not.toBe(old);
  expect((await client.getSession(session)).permission?.[0]).toEqual({
    permission: 'webfetch',
    pattern: '*',
    action: 'deny',
  });
});

it('rules that the server does not keep end the turn before its prompt', async () => {
  const conversation = await newConversation(turns);
  system.respond(() => ({ text: ['Hello.'] }));
  await runTurn(turns, conversation, 'one', 'permissive');
  const session = (await sessionOf(conversation)) ?? '';
  proxy.instead(({ method, path: route }) =>
    method === 'PATCH' && route === `/session/${session}`
      ? { body: { id: session, permission: [] } }
      : undefined,
  );
  tryBash('not-applied');
  const prompts = system.model.turnRequests.length;
  const { stored } = await runTurn(turns, conversation, 'two', 'strict');
  expect(stored).toMatchObject({ status: 'error', error: { reason: 'policy_not_applied' } });
  expect(system.model.turnRequests.length).toBe(prompts);
  expect(existsSync(mark('not-applied'))).toBe(false);
});

it('a sub-agent that exists is told what is denied now', async () => {
  const conversation = await newConversation(turns);
  const input = { description: 'sub', prompt: 'sub work', subagent_type: 'general' };
  system.respond(({ userText, step }) => {
    if (userText.includes('sub work')) return { text: ['Sub done.'] };
    return step === 0 ? { tools: [{ name: 'task', input }] } : { text: ['Done.'] };
  });
  await runTurn(turns, conversation, 'delegate', 'permissive');
  system.respond(() => ({ text: ['Hello.'] }));
  await runTurn(turns, conversation, 'stricter', 'strict');
  const [child] = await client.children((await sessionOf(conversation)) ?? '');
  expect(child?.permission).toContainEqual({ permission: 'bash', pattern: '*', action: 'deny' });
});

it('a writer of another time takes the fingerprint away, so that the next turn reads what is in force', async () => {
  const conversation = await newConversation(turns);
  system.respond(() => ({ text: ['Hello.'] }));
  await runTurn(turns, conversation, 'one', 'permissive');
  const sessionId = (await sessionOf(conversation)) ?? '';
  // A worker that was frozen wakes up and appends rules of a policy of before.
  await client.addPermissions(sessionId, noBash ?? []);
  await turns.models.Conversation.updateOne({ _id: conversation }, { $unset: { opencodeRules: 1 } });
  tryBash('repaired');
  await runTurn(turns, conversation, 'two', 'permissive');
  expect(existsSync(mark('repaired'))).toBe(true);
});
