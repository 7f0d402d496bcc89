import { existsSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { PolicyHookError } from '../../src/errors.ts';
import {
  noopTracer,
  type TurnOutcome,
  type TurnPolicy,
  type TurnsOptions,
  type WorkOptions,
} from '../../src/index.ts';
import { serverAddress } from '../../src/opencode/address.ts';
import { openCodeClient } from '../../src/opencode/v1/client.ts';
import { deferred } from '../support/deferred.ts';
import { eventually } from '../support/eventually.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { newConversation, runTurn } from '../support/turns.ts';

let system: TestSystem;
let deployments = 0;

beforeAll(async () => {
  system = await startSystem();
  system.respond(() => ({ text: ['warm'] }));
  const { run } = await under({});
  expect(await run()).toMatchObject({ status: 'completed' });
}, 90_000);
afterAll(() => system.stop());
beforeEach(() => {
  system.reports.length = 0;
  system.respond(({ userText }) => ({ text: [`echo ${userText}`] }));
});

/** One worker with one slot, in a deployment of its own. */
async function under(policy: TurnPolicy, options: Partial<WorkOptions> = {}) {
  deployments += 1;
  const turns = await system.connect({
    prefix: `${system.options.prefix}-${deployments}`,
    mongo: system.database(String(deployments)),
  });
  const { limits, ...rules } = policy;
  const worker = await turns.work({
    policies: {
      default: { ...system.policy, ...rules, limits: { hookTimeoutMs: 400, ...limits } },
      plain: system.policy,
    },
    concurrency: 1,
    ...options,
  });
  const conversation = await newConversation(turns);
  return {
    turns,
    worker,
    conversation,
    run: async (text = 'go', policyName = 'default') =>
      (await runTurn(turns, conversation, text, policyName)).stored,
  };
}

const hangs: () => Promise<never> = () => new Promise(() => undefined);
const throws = () => {
  throw new Error('the host is broken');
};

type Broken = readonly [hook: string, kind: PolicyHookError['kind'], policy: unknown];
const asked: readonly Broken[] = (['system', 'permissions', 'directory'] as const).flatMap(
  (hook): Broken[] => [
    [hook, 'threw', { [hook]: throws }],
    [hook, 'threw', { [hook]: () => Promise.reject(Object.create(null)) }],
    [hook, 'timeout', { [hook]: hangs }],
    [hook, 'invalid', { [hook]: () => undefined }],
    [hook, 'invalid', { [hook]: async () => 5 }],
  ],
);
const rubbish: readonly Broken[] = [
  ['permissions', 'invalid', { permissions: () => [{ permission: 'bahs', pattern: '*', action: 'deny' }] }],
  ['permissions', 'invalid', { permissions: () => [{ permission: 'bash', pattern: '*', action: 'denied' }] }],
  ['system', 'invalid', { system: () => 'x'.repeat(1024 * 1024 + 1) }],
  ['directory', 'invalid', { directory: () => '' }],
  ['directory', 'invalid', { directory: () => 'relative' }],
  ['directory', 'invalid', { directory: () => '/etc' }],
  ['directory', 'invalid', { directory: () => path.join(system.sandboxRoot, '..', 'other') }],
  ['directory', 'invalid', { directory: () => system.sandboxRoot }],
];

describe('code of the host that is asked before the prompt', () => {
  it.each([...asked, ...rubbish])(
    '%s: %s ends the turn without a prompt or an orphan',
    async (hook, kind, policy) => {
      const { worker, conversation, turns, run } = await under(policy as TurnPolicy);
      const before = system.model.requests.length;
      const sessions = await everySession();
      expect(await run()).toMatchObject({ status: 'error', error: { reason: 'policy_hook_failed' } });
      expect(system.model.requests.length).toBe(before);
      // One that was minted before belongs to the conversation.
      const stored = await turns.models.Conversation.findById(conversation);
      expect((await everySession()).filter((id) => id !== stored?.opencodeSessionId)).toEqual(sessions);
      const report = system.reports.find(({ error }) => error instanceof PolicyHookError);
      expect(report?.error).toMatchObject({ policy: 'default', hook, kind });
      // The one slot is free, and the conversation is not blocked.
      expect((await runTurn(turns, conversation, 'next', 'plain')).stored.text).toBe('echo next');
      expect(await worker.stop(2_000)).toEqual({ handedBack: [] });
    },
  );

  it('that is being waited for keeps nobody from leaving', async () => {
    const called = deferred();
    const { turns, worker, conversation } = await under({
      system: () => {
        called.resolve();
        return hangs();
      },
      limits: { hookTimeoutMs: 60_000 },
    });
    const { id } = await turns.enqueue({ conversation, text: 'go' });
    await called.promise;
    expect(await worker.stop(0)).toEqual({ handedBack: [id] });
    expect(await turns.get(id)).toMatchObject({ status: 'pending' });
  });

  it('may be async, and is told when its time is over', async () => {
    const told = deferred();
    const { run } = await under({
      system: (_, signal) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => {
            told.resolve();
            reject(new Error('too late'));
          });
        }),
    });
    expect(await run()).toMatchObject({ error: { reason: 'policy_hook_failed' } });
    await told.promise;
  });

  it('directories that it may name are used in their normal form', async () => {
    const { run } = await under({ directory: async () => `${system.policy.directory()}/../shared/` });
    expect(await run()).toMatchObject({
      status: 'completed',
      run: { directory: system.policy.directory() },
    });
    expect(existsSync(system.policy.directory())).toBe(true);
  });
});

describe('code of the host that is told of the end', () => {
  it.each([
    ['onFinalized', 'threw', throws],
    ['onFinalized', 'timeout', hangs],
    ['onTurnFinished', 'threw', async () => throws()],
    ['onTurnFinished', 'timeout', hangs],
  ] as const)('%s: %s is reported, changes nothing and costs no slot', async (hook, kind, fn) => {
    const { run, worker } = await under({ [hook]: fn });
    expect(await run()).toMatchObject({ status: 'completed', text: 'echo go' });
    expect(await run('next', 'plain')).toMatchObject({ status: 'completed' });
    await eventually(() =>
      expect(system.reports.map(({ error }) => error)).toContainEqual(
        expect.objectContaining({ code: 'policy_hook_failed', policy: 'default', hook, kind }),
      ),
    );
    expect(await worker.stop(2_000)).toEqual({ handedBack: [] });
  });

  it('is left behind by a worker that leaves', async () => {
    const called = deferred();
    const { worker, run } = await under({
      onTurnFinished: () => {
        called.resolve();
        return hangs();
      },
      limits: { hookTimeoutMs: 60_000 },
    });
    expect(await run()).toMatchObject({ status: 'completed' });
    await called.promise;
    await worker.stop(0);
    expect(worker.active).toBe(0);
  });

  it('hears of each end once', async () => {
    const heard: TurnOutcome[] = [];
    const { run } = await under({ onTurnFinished: (outcome) => void heard.push(outcome) });
    const { id } = await run();
    await eventually(() => expect(heard).toMatchObject([{ status: 'completed', turnId: id }]));
  });
});

describe('a tracer or a reporter', () => {
  const broken = () => throws();
  it.each<[string, Partial<TurnsOptions>]>([
    ['that throws', { tracer: { span: broken, event: broken, carrier: broken, traceId: broken } }],
    ['that never begins a span', { tracer: { ...noopTracer, span: hangs } }],
    ['that rejects its reports', { reporter: { report: async () => throws(), note: async () => throws() } }],
  ])('%s breaks no turn', async (_, options) => {
    deployments += 1;
    const turns = await system.connect({
      prefix: `${system.options.prefix}-${deployments}`,
      mongo: system.database(String(deployments)),
      ...options,
    });
    const worker = await turns.work({ policies: { default: system.policy } });
    const before = system.model.turnRequests.length;
    const { stored } = await runTurn(turns, await newConversation(turns), 'go');
    expect(stored).toMatchObject({ status: 'completed', text: 'echo go' });
    expect(system.model.turnRequests.length - before).toBe(1);
    await worker.stop(2_000);
  });
});

describe('a turn that is cancelled while it waits', () => {
  it('is told to onTurnFinished once, by a worker that knows its policy', async () => {
    const heard: TurnOutcome[] = [];
    const gate = deferred();
    system.respond(() => ({ text: ['first ', 'turn'], gate: gate.promise, gateAt: 1 }));
    const { turns, conversation } = await under({ onTurnFinished: (outcome) => void heard.push(outcome) });
    const first = await turns.enqueue({ conversation, text: 'first' });
    for await (const entry of turns.follow(first.id)) if (entry.type === 'part') break;
    const second = await turns.enqueue({ conversation, text: 'second' });
    expect(await turns.cancel(second.id)).toBe('cancelled');
    expect(await turns.cancel(second.id)).toBe('finished');
    // The one slot is taken: nobody has been told yet.
    expect(heard).toEqual([]);
    gate.resolve();
    await eventually(() => expect(heard).toHaveLength(2), 20_000);
    const third = await runTurn(turns, conversation, 'third');
    await eventually(() => expect(heard).toHaveLength(3), 20_000);
    expect(heard.map(({ turnId, status }) => [turnId, status])).toEqual(
      expect.arrayContaining([
        [first.id, 'completed'],
        [second.id, 'cancelled'],
        [third.id, 'completed'],
      ]),
    );
    expect(await turns.get(second.id)).toMatchObject({ status: 'cancelled', run: { epoch: 0 } });
  });

  it('waits for a worker that knows its policy, and is told when a hook of that one throws', async () => {
    const heard: TurnOutcome[] = [];
    const { turns, conversation } = await under({});
    const { id } = await turns.enqueue({ conversation, text: 'x', policy: 'late' });
    expect(await turns.cancel(id)).toBe('cancelled');
    await turns.work({
      policies: {
        late: {
          onTurnFinished: (outcome) => {
            heard.push(outcome);
            throw new Error('the host is broken');
          },
        },
      },
    });
    await eventually(() => expect(heard).toMatchObject([{ status: 'cancelled', turnId: id }]), 20_000);
    await eventually(() =>
      expect(system.reports.map(({ error }) => error)).toContainEqual(
        expect.objectContaining({ code: 'policy_hook_failed', hook: 'onTurnFinished', kind: 'threw' }),
      ),
    );
  });
});

/** Ids of all sessions that the server has. */
async function everySession(): Promise<string[]> {
  const { url, password } = system.opencode;
  const client = openCodeClient({ address: serverAddress(url, undefined, password) });
  return (await client.recentSessions(0, 1_000)).map(({ id }) => id).sort();
}
