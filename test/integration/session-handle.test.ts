import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import {
  IllegalStateError,
  InvalidConfigError,
  InvalidInputError,
  NotFoundError,
  type PermissionRule,
  type SessionRef,
  type Turns,
} from '../../src/index.ts';
import { serverAddress } from '../../src/opencode/address.ts';
import { openCodeClient } from '../../src/opencode/v1/client.ts';
import type { OpenCode } from '../../src/opencode/v1/server.ts';
import { deferred } from '../support/deferred.ts';
import { eventually } from '../support/eventually.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { newConversation } from '../support/turns.ts';

const rule = (action: PermissionRule['action']): PermissionRule => ({
  permission: 'bash',
  pattern: '*',
  action,
});
let system: TestSystem;
let turns: Turns;
let client: OpenCode;
let directory: string;

beforeAll(async () => {
  system = await startSystem();
  turns = await system.connect();
  client = openCodeClient({
    address: serverAddress(system.opencode.url, undefined, system.opencode.password),
  });
  directory = system.policy.directory();
  await turns.work({ policies: { default: { ...system.policy, permissions: [rule('allow')] } } });
}, 90_000);
afterAll(() => system?.stop());

const handleOf = (conversation: string, more = {}) => turns.session(conversation, { directory, ...more });
async function finished(conversation: string, text = 'hello') {
  const { id } = await turns.enqueue({ conversation, text });
  return turns.result(id);
}
const rulesOf = async ({ sessionId }: SessionRef) => (await client.getSession(sessionId)).permission ?? [];
const made = async () => (await client.sessions(directory)).map(({ id }) => id).sort();

it('one session is made, whoever asks at once, and the next turn goes on in it', async () => {
  const conversation = await newConversation(turns);
  const handle = handleOf(conversation);
  expect(await handle.stored()).toBeNull();
  const before = await made();
  const all = await Promise.all(Array.from({ length: 10 }, () => handleOf(conversation).ensure()));
  const [first] = all as [SessionRef];
  expect(new Set(all.map(({ sessionId }) => sessionId)).size).toBe(1);
  expect(await made()).toEqual([...before, first.sessionId].sort());
  expect(await handle.stored()).toMatchObject({
    sessionId: first.sessionId,
    server: first.server,
    directory,
  });
  expect((await finished(conversation)).run.sessionId).toBe(first.sessionId);
});

it('a new one takes its place, and a forgotten one is replaced by the next turn; the old ones stay upstream', async () => {
  const conversation = await newConversation(turns);
  const handle = handleOf(conversation);
  const first = (await finished(conversation)).run.sessionId;
  const [second, same] = await Promise.all([handle.recreate(), handle.recreate()]);
  expect(second.sessionId).not.toBe(first);
  expect(same.sessionId).toBe(second.sessionId);
  expect((await finished(conversation)).run.sessionId).toBe(second.sessionId);
  expect([await handle.forget(), await handle.forget(), await handle.stored()]).toEqual([true, false, null]);
  const third = (await finished(conversation)).run.sessionId;
  expect([first, second.sessionId]).not.toContain(third);
  expect(await made()).toEqual(expect.arrayContaining([first, second.sessionId, third]));
});

it('a turn that runs goes on in its session when that is forgotten or replaced', async () => {
  const conversation = await newConversation(turns);
  const { sessionId } = await handleOf(conversation).ensure();
  const gate = deferred();
  system.respond(() => ({ text: ['one ', 'two'], gate: gate.promise, gateAt: 1 }));
  const { id } = await turns.enqueue({ conversation, text: 'count' });
  await eventually(async () => expect((await turns.get(id))?.run.phase).toBe('prompted'));
  expect(await handleOf(conversation).forget()).toBe(true);
  const other = await handleOf(conversation).ensure();
  gate.resolve();
  const turn = await turns.result(id);
  system.respond(() => undefined);
  expect(turn).toMatchObject({ status: 'completed', text: 'one two', run: { sessionId, resends: 0 } });
  expect((await handleOf(conversation).stored())?.sessionId).toBe(other.sessionId);
});

it('abort ends what runs there and sees it end', async () => {
  const conversation = await newConversation(turns);
  const handle = handleOf(conversation);
  expect(await handle.abort()).toBe(true);
  system.respond(() => ({ text: ['one ', 'two'], gate: new Promise(() => undefined), gateAt: 1 }));
  const { id } = await turns.enqueue({ conversation, text: 'count' });
  await eventually(async () => expect((await turns.get(id))?.run.phase).toBe('prompted'));
  await eventually(async () => expect(await client.statuses(directory)).not.toEqual({}));
  expect(await handle.abort()).toBe(true);
  expect(await client.statuses(directory)).toEqual({});
  system.respond(() => undefined);
  expect((await turns.result(id)).error?.reason).toBe('aborted_upstream');
});

it('rules are in force at once, and those of the policy again with the next turn', async () => {
  const conversation = await newConversation(turns);
  const handle = handleOf(conversation);
  await expect(handle.updatePermissions([rule('deny')])).rejects.toThrow(InvalidInputError);
  const session = await handle.ensure();
  expect(await handle.updatePermissions([rule('deny')])).toBe('in-force');
  expect((await rulesOf(session)).at(-1)).toMatchObject(rule('deny'));
  const turn = await finished(conversation);
  expect(turn.run.sessionId).toBe(session.sessionId);
  const rules = (await rulesOf(session)).filter(({ permission }) => permission === 'bash');
  expect(rules.at(-1)).toMatchObject(rule('allow'));
});

it('rules of which nobody knows whether they are in force are looked at by the next turn', async () => {
  const conversation = await newConversation(turns);
  const handle = handleOf(conversation);
  const { sessionId } = await handle.ensure();
  expect((await handle.stored())?.rules).toBeDefined();
  await client.deleteSession(sessionId);
  await expect(handle.updatePermissions([rule('deny')])).rejects.toMatchObject({ code: 'session_not_found' });
  expect((await handle.stored())?.rules).toBeUndefined();
  expect((await finished(conversation)).status).toBe('completed');
});

it('refuses what makes no sense, and then leaves no session', async () => {
  const conversation = await newConversation(turns);
  const before = await made();
  expect(() => turns.session('nobody')).toThrow(InvalidInputError);
  expect(() => turns.session(conversation, { directory: 'relative' })).toThrow(InvalidInputError);
  expect(() =>
    turns.session(conversation, { permissions: [{ ...rule('deny'), permission: 'bsh' }] }),
  ).toThrow(InvalidConfigError);
  await expect(handleOf('0'.repeat(24)).ensure()).rejects.toThrow(NotFoundError);
  await expect(handleOf(conversation).ensure({ signal: 5 as never })).rejects.toThrow(InvalidInputError);
  await expect(handleOf(conversation).ensure(null as never)).rejects.toThrow(InvalidInputError);
  const left = AbortSignal.abort(new Error('left'));
  for (const call of ['stored', 'ensure', 'recreate', 'forget', 'abort'] as const)
    await expect(handleOf(conversation)[call]({ signal: left })).rejects.toThrow('left');
  const strange = path.join(system.sandboxRoot, 'strange');
  mkdirSync(strange);
  writeFileSync(path.join(strange, 'opencode.json'), '{}');
  await expect(handleOf(conversation, { directory: strange }).ensure()).rejects.toMatchObject({
    code: 'server_config_files',
    files: ['opencode.json'],
  });
  expect(await made()).toEqual(before);
  expect(await handleOf(conversation).stored()).toBeNull();
});

it('of a closed one refuses at once', async () => {
  const other = await system.connect();
  const conversation = await newConversation(other);
  const handle = other.session(conversation, { directory });
  await handle.ensure();
  await other.close();
  expect(() => other.session(conversation)).toThrow(IllegalStateError);
  await expect(handle.recreate()).rejects.toMatchObject({ code: expect.any(String) });
});
