import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { TurnPolicy, Turns } from '../../src/index.ts';
import { sentences } from '../../src/turn/failure-sentences.ts';
import { deferred } from '../support/deferred.ts';
import { eventually } from '../support/eventually.ts';
import { type Respond, startSystem, type TestSystem } from '../support/system.ts';
import { followAll, newConversation, runTurn } from '../support/turns.ts';
import { type EventWire, startUpstreamProxy, type UpstreamProxy } from '../support/upstream-proxy.ts';

let system: TestSystem;
let proxy: UpstreamProxy;
let turns: Turns;
let wires: EventWire[] = [];
let down = false;

beforeAll(async () => {
  system = await startSystem();
  proxy = await startUpstreamProxy(system.opencode.url);
  proxy.before(() => (down ? Promise.reject(new Error('down')) : undefined));
  proxy.spoil(system.policy.directory(), (wire) => {
    wires.push(wire);
    return (frame) => wire.send(frame);
  });
  const { password } = system.opencode;
  turns = await system.connect({ opencode: { url: proxy.url, ...(password ? { password } : {}) } });
  const { policy } = system;
  const policies: Record<string, TurnPolicy> = {
    default: policy,
    impatient: { ...policy, limits: { maxUpstreamRetries: 0 } },
    'no such model': { ...policy, model: 'scripted/nope' },
    'no key': { ...policy, model: 'anthropic/claude-sonnet-4-5' },
    'no such agent': { ...policy, agent: 'nope' },
    'no such folder': { ...policy, directory: () => '/proc/not/there', directoryRoot: '/proc' },
    short: { ...policy, limits: { upstreamAwayMs: 3_000, cancelTimeoutMs: 500 } },
  };
  await turns.work({ policies });
}, 90_000);
afterAll(async () => {
  await system.stop();
  await proxy.stop();
});

const failing = (status: number, message: string, code?: string): Respond => {
  const body = { error: { message, type: 'error', ...(code ? { code } : {}) } };
  return () => ({ error: { status, body } });
};

describe('a turn that fails tells its followers one plain sentence, and operators what was said', () => {
  it.each([
    ['provider_authentication', 'default', failing(401, 'Incorrect key', 'invalid_api_key'), 'Incorrect key'],
    ['quota_exceeded', 'default', failing(402, 'Insufficient credits'), 'Insufficient credits'],
    ['content_filter', 'default', (() => ({ text: ['x'], finish: 'content_filter' })) as Respond, 'filter'],
    [
      'context_overflow',
      'default',
      failing(400, 'too long', 'context_length_exceeded'),
      'too large to compact',
    ],
    ['unknown_model', 'no such model', undefined, 'Model not found: scripted/nope'],
    ['provider_not_configured', 'no key', undefined, 'Model not found: anthropic/claude-sonnet-4-5'],
    ['unknown_agent', 'no such agent', undefined, 'Agent not found: "nope"'],
    ['missing_directory', 'no such folder', undefined, '/proc/not/there'],
  ] as const)('%s (%s)', async (reason, policy, respond, said) => {
    system.respond(respond ?? (() => ({ text: ['never'] })));
    const { stored, view } = await runTurn(turns, await newConversation(turns), 'go', policy);
    expect(view.end).toMatchObject({ status: 'error', error: { reason, message: sentences[reason] } });
    expect(Object.keys(view.end?.error ?? {})).toEqual(['reason', 'message']);
    expect(stored.error).toMatchObject({ reason, detail: expect.stringContaining(said) });
    expect(JSON.stringify(stored.error)).not.toMatch(/\\n +at |bunfs/);
    expect(stored.run.reruns).toBe(0);
  });

  it.each([
    ['quota', failing(429, 'You exceeded your current quota', 'insufficient_quota'), 'quota_exceeded'],
    ['rate', failing(429, 'Rate limit reached', 'rate_limit_exceeded'), 'rate_limited'],
    ['network', (() => ({ text: ['x'], ending: 'reset' })) as Respond, 'provider_unreachable'],
    ['nothing that anybody knows', failing(500, 'boom'), 'budget_max_upstream_retries'],
  ] as const)('what the provider says again and again: %s', async (_name, respond, explained) => {
    system.respond(respond);
    const { view } = await runTurn(turns, await newConversation(turns), 'go', 'impatient');
    const message = sentences[explained];
    expect(view.end).toMatchObject({ error: { reason: 'budget_max_upstream_retries', message } });
  });
});

describe('an answer that lacks something says so', () => {
  it('when the model had written as much as it may', async () => {
    system.respond(() => ({ text: ['half a'], finish: 'length' }));
    const { stored, view } = await runTurn(turns, await newConversation(turns), 'go');
    const notice = { reason: 'output_limit', message: sentences.output_limit };
    expect(stored).toMatchObject({ status: 'completed', text: 'half a', notice });
    expect(view.end).toMatchObject({ status: 'completed', notice });
  });

  it('when the last step has no word, whatever was said before its tools', async () => {
    const bash = { tools: [{ name: 'bash', input: { command: 'echo x', description: 'test' } }] };
    system.respond(({ step }) => (step === 0 ? { text: ['I look.'], ...bash } : {}));
    const { stored, view } = await runTurn(turns, await newConversation(turns), 'go');
    expect(stored).toMatchObject({ status: 'completed', notice: { reason: 'no_text' } });
    expect(view.end?.notice).toEqual({ reason: 'no_text', message: sentences.no_text });
  });

  it('and one that is whole has no notice', async () => {
    system.respond(() => ({ text: ['whole'] }));
    const { stored, view } = await runTurn(turns, await newConversation(turns), 'go');
    expect([stored.notice, view.end?.notice]).toEqual([undefined, undefined]);
  });
});

it('a call of a tool that is not there has failed, and is not shown as done', async () => {
  system.respond(({ step }) =>
    step === 0 ? { tools: [{ name: 'bsah', input: { command: 'ls' } }] } : { text: ['sorry'] },
  );
  const { stored, view } = await runTurn(turns, await newConversation(turns), 'go');
  const failed = {
    type: 'tool',
    tool: 'bsah',
    status: 'error',
    error: expect.stringContaining('unavailable tool'),
  };
  for (const parts of [stored.parts, view.parts]) expect(parts[0]).toMatchObject(failed);
});

describe('an OpenCode server that is away', () => {
  const phases = (entries: readonly { type: string; progress?: string }[]) =>
    entries.flatMap((entry) => (entry.type === 'progress' ? [entry.progress] : []));

  async function cutWhileHeld(policy: string) {
    const gate = deferred();
    system.respond(() => ({ text: ['some ', 'text'], gate: gate.promise, gateAt: 1 }));
    const { id } = await turns.enqueue({
      conversation: await newConversation(turns),
      text: 'go',
      policy,
    });
    const followed = followAll(turns, id);
    await eventually(async () => expect((await turns.get(id))?.run.phase).toBe('prompted'));
    await eventually(() => expect(system.model.turnRequests.at(-1)?.outcome).toBeUndefined());
    down = true;
    for (const wire of wires) wire.cut();
    wires = [];
    return { id, gate, followed };
  }

  it('is told, and so is that it is back; the turn goes on', async () => {
    const { id, gate, followed } = await cutWhileHeld('default');
    for await (const entry of turns.follow(id))
      if (entry.type === 'progress' && entry.progress === 'waiting_for_server') break;
    down = false;
    gate.resolve();
    const { entries, view } = await followed;
    expect(phases(entries)).toEqual(['queued', 'started', 'prompted', 'waiting_for_server', 'prompted']);
    expect(view.end).toMatchObject({ status: 'completed', text: 'some text' });
  });

  it('ends the turn after a limit of its own, with the last error, in the middle of it', async () => {
    const { id, gate, followed } = await cutWhileHeld('short');
    const { entries, view } = await followed;
    down = false;
    gate.resolve();
    expect(phases(entries).slice(0, 4)).toEqual(['queued', 'started', 'prompted', 'waiting_for_server']);
    const reason = 'deadline_upstream_away_ms';
    expect(view.end).toMatchObject({ status: 'error', error: { reason, message: sentences[reason] } });
    expect((await turns.get(id))?.error).toMatchObject({ name: 'upstream_connection' });
  });

  it('and before it has begun, without a prompt and without a session that nobody owns', async () => {
    const before = proxy.requests.length;
    down = true;
    const { stored, entries } = await runTurn(turns, await newConversation(turns), 'go', 'short');
    down = false;
    expect(phases(entries)).toEqual(['queued', 'started', 'waiting_for_server']);
    expect(stored.error).toMatchObject({ reason: 'deadline_upstream_away_ms', name: 'upstream_connection' });
    expect(proxy.requests.slice(before).some(({ path: at }) => at.endsWith('prompt_async'))).toBe(false);
  });
});
