import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { StoredTurn, TurnLimits, TurnPolicy, Turns, WorkOptions } from '../../src/index.ts';
import { serverAddress } from '../../src/opencode/address.ts';
import { openCodeClient } from '../../src/opencode/v1/client.ts';
import { deferred } from '../support/deferred.ts';
import { eventually } from '../support/eventually.ts';
import { type Respond, startSystem, type TestSystem } from '../support/system.ts';
import { newConversation, runTurn } from '../support/turns.ts';
import { startUpstreamProxy } from '../support/upstream-proxy.ts';

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
async function under(
  limits: Partial<TurnLimits>,
  more: TurnPolicy = {},
  options: Partial<WorkOptions> = {},
  opencode = system.options.opencode,
) {
  deployments += 1;
  const own = {
    prefix: `${system.options.prefix}-${deployments}`,
    mongo: system.database(String(deployments)),
    opencode,
  };
  const turns = await system.connect(own);
  await turns.work({ policies: { default: { ...system.policy, limits, ...more } }, ...options });
  const conversation = await newConversation(turns);
  return { turns, conversation, run: async () => (await runTurn(turns, conversation, 'go')).stored };
}

const held = () => ({ text: ['some ', 'text ', 'never sent'], gate: deferred().promise, gateAt: 2 });
/** Every request with tools is too long, however short; a summary is not. */
const overflowing: Respond = ({ kind }) =>
  kind === 'other'
    ? { text: ['summary'] }
    : { error: { status: 400, body: { error: { message: 'too long', code: 'context_length_exceeded' } } } };
const bash = { tools: [{ name: 'bash', input: { command: 'echo x', description: 'test' } }] };

/** The turn ended for that reason, with what was streamed; upstream nothing of it runs, and the model is left alone. */
async function expectStopped(stored: StoredTurn, reason: string, content: string | RegExp): Promise<void> {
  expect(stored).toMatchObject({
    status: 'error',
    error: { reason },
    text: expect.stringMatching(content),
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
    expect(await run()).toMatchObject({ status: 'completed', text: text.join('') });
  });

  it('idleTimeoutMs stands still while a person is asked', async () => {
    system.respond(({ step }) => (step === 0 ? bash : { text: ['went on'] }));
    const permissions = [{ permission: 'bash', pattern: '*', action: 'ask' as const }];
    const { turns, conversation } = await under({ idleTimeoutMs: 1_000 }, { permissions });
    const { id } = await turns.enqueue({ conversation, text: 'go' });
    const asked = await openRequest(turns, id);
    // Twice the limit has to pass for the claim to mean something.
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    expect(await turns.answer(id, asked, { kind: 'permission', reply: 'once' })).toBe(true);
    await eventually(async () =>
      expect(await turns.get(id)).toMatchObject({ status: 'completed', text: 'went on' }),
    );
  });
});

async function openRequest(turns: Turns, id: string): Promise<string> {
  return eventually(async () => {
    const [prompt] = (await turns.get(id))?.requests ?? [];
    if (!prompt) throw new Error('no prompt yet');
    return prompt.requestId;
  });
}

describe('budgets', () => {
  const usage = { input: 50_000, output: 1_000 };

  it.each([
    // Three dollars for a million tokens in, fifteen for a million out: 0.165 a step.
    ['maxCost', { maxCost: 0.2 }, 'budget_max_cost'],
    ['maxTokens', { maxTokens: 60_000 }, 'budget_max_tokens'],
  ] as const)('%s ends a turn at the step that crosses it', async (_name, limits, reason) => {
    const before = system.model.turnRequests.length;
    system.respond(({ step }) => ({ text: [`step ${step}. `], ...bash, usage, delayMs: 500 }));
    const { run } = await under(limits);
    await expectStopped(await run(), reason, /^step 0\. \s*step 1\. /);
    // The step that follows may have been asked already when the abort arrives; none comes after it.
    expect(system.model.turnRequests.length - before).toBeLessThanOrEqual(3);
  });

  const finishless = { finish: 'something new' };
  const task = {
    tools: [{ name: 'task', input: { description: 'd', prompt: 'child', subagent_type: 'general' } }],
  };
  const looping: Record<string, Respond> = {
    'steps that call tools': ({ step }) => ({ text: [`step ${step}. `], ...bash }),
    'steps that call tools and end with a reason that nobody knows': () => ({ ...bash, ...finishless }),
    'steps without a tool that end with such a reason': ({ step }) => ({ text: [`${step} `], ...finishless }),
    'empty ones': () => finishless,
    'a context that no compaction makes fit': overflowing,
    'a context that is full again after each compaction': () => ({
      text: ['x'],
      usage: { input: 199_000, output: 9 },
    }),
    "a sub-agent's": ({ userText }) => (userText === 'child' ? bash : task),
    "a sub-agent's that end with a reason that nobody knows": ({ userText }) =>
      userText === 'child' ? { text: ['x'], ...finishless } : task,
  };

  it.each(Object.entries(looping))('maxSteps counts %s', async (_name, respond) => {
    const before = system.model.requests.length;
    // Slower than an abort is.
    system.respond((request) => ({ ...respond(request), delayMs: 700 }));
    const { run } = await under({ maxSteps: 5 });
    await expectStopped(await run(), 'budget_max_steps', /^/);
    // The sixth is known once it has begun; one more may be on its way.
    expect(system.model.requests.length - before).toBeGreaterThanOrEqual(5);
    expect(system.model.requests.length - before).toBeLessThanOrEqual(7);
  });

  it('maxSteps counts what nobody told: a poll does, when the stream is mute', async () => {
    const before = system.model.requests.length;
    system.respond(() => ({ ...bash, delayMs: 500 }));
    const proxy = await startUpstreamProxy(system.opencode.url);
    try {
      proxy.spoil(system.policy.directory(), () => () => undefined);
      const { password } = system.opencode;
      const { run } = await under(
        { maxSteps: 5 },
        {},
        {},
        { url: proxy.url, ...(password ? { password } : {}) },
      );
      expect(await run()).toMatchObject({ status: 'error', error: { reason: 'budget_max_steps' } });
    } finally {
      await proxy.stop();
    }
    // It looks every two seconds.
    expect(system.model.requests.length - before).toBeLessThanOrEqual(5 + 8);
  }, 120_000);

  it.each(Object.entries(looping).slice(2, 6))('%s end as no progress', async (_name, respond) => {
    const before = system.model.requests.length;
    // Slower than an abort is.
    system.respond((request) => ({ ...respond(request), delayMs: 1_000 }));
    const { run } = await under({});
    await expectStopped(await run(), 'no_progress', /^/);
    expect(system.model.requests.length - before).toBeLessThanOrEqual(8);
  });

  it('an answer that is long in coming is progress', async () => {
    system.respond(({ step }) => (step < 12 ? bash : { text: ['at last'] }));
    const { run } = await under({ maxSteps: 13 });
    expect(await run()).toMatchObject({ status: 'completed', text: 'at last' });
  });
});

it('a limit that the last step crosses leaves the answer as it is', async () => {
  system.respond(() => ({ text: ['dear'], usage: { input: 50_000, output: 1_000 } }));
  const { run } = await under({ maxCost: 0.01, maxTokens: 10, maxSteps: 1 });
  expect(await run()).toMatchObject({ status: 'completed', text: 'dear' });
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
      async () => expect(await turns.get(id)).toMatchObject({ status: 'completed', text: 'known' }),
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
    const { text, run } = (await turns.get(id)) as StoredTurn;
    expect(text).toMatch(/^some /);
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
    expect(stored).toMatchObject({ status: 'completed', text: 'next' });
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
