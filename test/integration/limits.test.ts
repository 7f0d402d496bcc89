import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { StoredTurn, TurnLimits, TurnPolicy, Turns, WorkOptions } from '../../src/index.ts';
import { serverAddress } from '../../src/opencode/basic-auth.ts';
import { openCodeClient } from '../../src/opencode/client.ts';
import { deferred } from '../support/deferred.ts';
import { eventually } from '../support/eventually.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { newConversation, runTurn } from '../support/turns.ts';

let system: TestSystem;

beforeAll(async () => {
  system = await startSystem();
  // The directory is loaded once and for all: what follows is about our limits and not about upstream's start.
  system.respond(() => ({ text: ['warm'] }));
  const { run } = await under({});
  await run();
}, 90_000);
afterAll(() => system.stop());

let deployments = 0;

/** One turn under these limits, in a deployment of its own: sweepers look after every turn of their database. */
async function under(limits: Partial<TurnLimits>, more: TurnPolicy = {}, options: Partial<WorkOptions> = {}) {
  deployments += 1;
  const own = {
    prefix: `${system.options.prefix}-${deployments}`,
    mongo: system.database(String(deployments)),
  };
  const turns = await system.connect(own);
  await turns.work({ policies: { default: { ...system.policy, limits, ...more } }, ...options });
  const conversation = await newConversation(turns);
  return { turns, conversation, run: async () => (await runTurn(turns, conversation, 'go')).stored };
}

const held = () => ({ text: ['some ', 'text ', 'never sent'], gate: deferred().promise, gateAt: 2 });
const bash = { tools: [{ name: 'bash', input: { command: 'echo x', description: 'test' } }] };

/** The turn ended for that reason, with what was streamed; upstream nothing of it runs, and the model is left alone. */
async function expectStopped(stored: StoredTurn, reason: string, content: string | RegExp): Promise<void> {
  expect(stored).toMatchObject({
    status: 'error',
    error: { reason },
    content: expect.stringMatching(content),
  });
  const { url, password } = system.opencode;
  const client = openCodeClient({ address: serverAddress(url, undefined, password) });
  expect(await client.statuses(stored.run.directory ?? '')).toEqual({});
  expect(system.model.turnRequests.filter(({ outcome }) => outcome === undefined)).toEqual([]);
}

describe('time', () => {
  it('turnTimeoutMs ends a turn whose model hangs, and keeps its text', async () => {
    system.respond(held);
    const { run } = await under({ turnTimeoutMs: 4_000 });
    await expectStopped(await run(), 'deadline_turn_timeout_ms', /^some text $/);
  });

  it('idleTimeoutMs ends a turn that makes no progress, and keeps its text', async () => {
    system.respond(held);
    const { run } = await under({ idleTimeoutMs: 1_500 });
    await expectStopped(await run(), 'stream_idle', /^some text $/);
  });

  it('idleTimeoutMs lets a turn live that is slow but moves', async () => {
    const text = Array.from({ length: 8 }, (_, at) => `${at} `);
    system.respond(() => ({ text, chunkDelayMs: 400 }));
    const { run } = await under({ idleTimeoutMs: 1_500 });
    expect(await run()).toMatchObject({ status: 'completed', content: text.join('') });
  });

  it('idleTimeoutMs stands still while a person is asked', async () => {
    system.respond(({ step }) => (step === 0 ? bash : { text: ['went on'] }));
    const permissions = [{ permission: 'bash', pattern: '*', action: 'ask' as const }];
    const { turns, conversation } = await under({ idleTimeoutMs: 1_000 }, { permissions });
    const { id } = await turns.enqueue({ conversation, text: 'go' });
    const asked = await openPrompt(turns, id);
    // Twice the limit has to pass for the claim to mean something.
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    expect(await turns.answer(id, asked, { kind: 'permission', reply: 'once' })).toBe(true);
    await eventually(async () =>
      expect(await turns.get(id)).toMatchObject({ status: 'completed', content: 'went on' }),
    );
  });
});

async function openPrompt(turns: Turns, id: string): Promise<string> {
  return eventually(async () => {
    const [prompt] = (await turns.get(id))?.prompts ?? [];
    if (!prompt) throw new Error('no prompt yet');
    return prompt.requestId;
  });
}

describe('budgets', () => {
  const usage = { input: 50_000, output: 1_000 };

  it.each([
    ['maxSteps', { maxSteps: 1 }, 'budget_max_steps'],
    // Three dollars for a million tokens in, fifteen for a million out: 0.165 a step.
    ['maxCost', { maxCost: 0.2 }, 'budget_max_cost'],
    ['maxTokens', { maxTokens: 60_000 }, 'budget_max_tokens'],
  ] as const)('%s ends a turn at the step that crosses it', async (_name, limits, reason) => {
    const before = system.model.turnRequests.length;
    system.respond(({ step }) => ({ text: [`step ${step}. `], ...bash, usage }));
    const { run } = await under(limits);
    await expectStopped(await run(), reason, /^step 0\. \s*step 1\. /);
    // The step that follows may have been asked already when the abort arrives; none comes after it.
    expect(system.model.turnRequests.length - before).toBeLessThanOrEqual(3);
  });
});

it('a limit that the last step crosses leaves the answer as it is', async () => {
  system.respond(() => ({ text: ['dear'], usage: { input: 50_000, output: 1_000 } }));
  const { run } = await under({ maxCost: 0.01, maxTokens: 10, maxSteps: 0 });
  expect(await run()).toMatchObject({ status: 'completed', content: 'dear' });
});

describe('a policy that a worker does not know', () => {
  it('leaves the turn to a worker that does', async () => {
    system.respond(() => ({ text: ['known'] }));
    const { turns, conversation } = await under({});
    const { id } = await turns.enqueue({ conversation, text: 'x', policy: 'new' });
    const known = () => system.reports.find(({ context }) => context.turnId === id);
    await eventually(() =>
      expect(known()).toMatchObject({ error: { code: 'unknown_policy', policy: 'new' } }),
    );
    expect(await turns.get(id)).toMatchObject({ status: 'pending', run: { epoch: 0 } });
    await turns.work({ policies: { new: system.policy } });
    await eventually(
      async () => expect(await turns.get(id)).toMatchObject({ status: 'completed', content: 'known' }),
      20_000,
    );
  });

  it('does not keep a turn that runs under it from being cancelled', async () => {
    system.respond(held);
    const { turns, conversation } = await under({});
    const old = await turns.work({ policies: { old: system.policy } });
    const { id } = await turns.enqueue({ conversation, text: 'x', policy: 'old' });
    for await (const entry of turns.follow(id)) if (entry.type === 'part' || entry.type === 'text') break;
    await old.stop(0);
    expect(await turns.cancel(id)).toBe('requested');
    await eventually(
      async () =>
        expect(await turns.get(id)).toMatchObject({ status: 'cancelled', run: { phase: 'finished' } }),
      40_000,
    );
    const { content, run } = (await turns.get(id)) as StoredTurn;
    expect(content).toMatch(/^some /);
    const { url, password } = system.opencode;
    const client = openCodeClient({ address: serverAddress(url, undefined, password) });
    expect(await client.statuses(run.directory ?? '')).toEqual({});
  });

  it('ends the turn when nobody comes, without a prompt, and the next one runs', async () => {
    const before = system.model.turnRequests.length;
    system.respond(() => ({ text: ['next'] }));
    const { turns, conversation } = await under({}, {}, { unknownPolicyMs: 1_000 });
    const typo = await turns.enqueue({ conversation, text: 'x', policy: 'defualt' });
    const { stored } = await runTurn(turns, conversation, 'y');
    expect(stored).toMatchObject({ status: 'completed', content: 'next' });
    expect(await turns.get(typo.id)).toMatchObject({
      status: 'error',
      error: { reason: 'deadline_unknown_policy_ms' },
      run: { epoch: 1 },
    });
    expect(system.model.turnRequests.length - before).toBe(1);
  });
});

describe('a provider that keeps failing', () => {
  it.each([
    ['maxUpstreamRetries', { maxUpstreamRetries: 1 }, 'budget_max_upstream_retries'],
    ['maxUpstreamRetryDelayMs', { maxUpstreamRetryDelayMs: 500 }, 'budget_max_upstream_retry_delay_ms'],
  ] as const)('%s ends the turn', async (_name, limits, reason) => {
    system.respond(() => ({ error: { status: 500 } }));
    const { run } = await under(limits);
    expect(await run()).toMatchObject({ status: 'error', error: { reason } });
  });
});
