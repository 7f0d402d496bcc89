import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { StoredTurn, TurnEntry, Turns } from '../../src/index.ts';
import { serverAddress } from '../../src/opencode/address.ts';
import { openCodeClient } from '../../src/opencode/v1/client.ts';
import type { OpenCode } from '../../src/opencode/v1/server.ts';
import type { TurnOutcome } from '../../src/turn/outcome.ts';
import { deferred } from '../support/deferred.ts';
import { eventually } from '../support/eventually.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { newConversation, runTurn } from '../support/turns.ts';
import { startUpstreamProxy, type UpstreamProxy } from '../support/upstream-proxy.ts';

let system: TestSystem;
let proxy: UpstreamProxy;
let client: OpenCode;
let turns: Turns;
const outcomes: TurnOutcome[] = [];
/** Aborts that upstream is still to forget: answered `true` and without effect, as those of a run that is being set up. */
let forgotten = 0;
let aborts: string[] = [];

beforeAll(async () => {
  system = await startSystem();
  const { url, password = '' } = system.opencode;
  proxy = await startUpstreamProxy(url);
  proxy.instead(({ method, path: route }) => {
    if (method !== 'POST' || !route.endsWith('/abort')) return undefined;
    aborts.push(route);
    forgotten -= 1;
    return forgotten >= 0 ? { body: true } : undefined;
  });
  client = openCodeClient({ address: serverAddress(url, undefined, password) });
  turns = await system.connect({ opencode: { url: proxy.url, password } });
  const onTurnFinished = (outcome: TurnOutcome) => void outcomes.push(outcome);
  const policy = { ...system.policy, onTurnFinished };
  await turns.work({
    policies: {
      default: policy,
      brief: { ...policy, limits: { cancelTimeoutMs: 1_000 } },
      'out of time': { ...policy, limits: { cancelTimeoutMs: 1_000, turnTimeoutMs: 3_000 } },
      cold: { model: 'scripted/scripted' },
    },
    sweeper: { everyMs: 500, minAgeMs: 10_000 },
  });
  // The directory is loaded once and for all.
  await runTurn(turns, await newConversation(turns), 'warm');
}, 90_000);
beforeEach(() => {
  forgotten = 0;
  aborts = [];
});
afterAll(async () => {
  await system.stop();
  await proxy.stop();
});

const held = { text: ['some ', 'text ', 'never sent'], gate: deferred().promise, gateAt: 2 };
const isInputRequest = ({ path: route }: { path: string }) => route.endsWith('/prompt_async');
const running = () => system.model.requests.filter(({ outcome }) => outcome === undefined);
const expectNothingRuns = () => eventually(() => expect(running()).toEqual([]));

async function started(policy: string, existing?: string) {
  system.respond(() => held);
  const asked = system.model.requests.length;
  const conversation = existing ?? (await newConversation(turns));
  const { id } = await turns.enqueue({ conversation, text: 'go', policy });
  const entries: TurnEntry[] = [];
  const followed = (async () => {
    for await (const entry of turns.follow(id)) entries.push(entry);
    return (await turns.get(id)) as StoredTurn;
  })();
  const streaming = () => eventually(() => expect(entries.some(({ type }) => type === 'part')).toBe(true));
  return {
    id,
    conversation,
    entries,
    followed,
    streaming,
    asked: () => system.model.requests.length - asked,
  };
}

describe('an abort that upstream forgets', () => {
  it('is repeated until the run is seen to be over', async () => {
    const turn = await started('default');
    await turn.streaming();
    forgotten = 3;
    await turns.cancel(turn.id);
    const stored = await turn.followed;
    expect(stored).toMatchObject({ status: 'cancelled', text: 'some text ' });
    expect(stored.error).toBeUndefined();
    expect(aborts.length).toBeGreaterThanOrEqual(4);
    expect(running()).toEqual([]);
    expect(turn.asked()).toBe(1);
  });

  it('on a run that begins after it is made good when that run begins', async () => {
    // Upstream has the prompt, and its run begins when the abort has been answered.
    const gate = deferred();
    const seen = deferred();
    proxy.after(({ path: route }) => {
      if (!route.endsWith('/prompt_async')) return undefined;
      seen.resolve();
      return gate.promise;
    });
    const turn = await started('cold');
    await seen.promise;
    forgotten = 1;
    await turns.cancel(turn.id);
    gate.resolve();
    expect(await turn.followed).toMatchObject({ status: 'cancelled' });
    expect((await turns.get(turn.id))?.error).toBeUndefined();
    proxy.after(() => undefined);
    await expectNothingRuns();
    const directory = path.join(system.sandboxRoot, turn.conversation);
    expect(await client.statuses(directory)).toEqual({});
    // Idle is not enough: a run that has not begun is idle, too.
    const { opencodeSessionId } = (await turns.models.Conversation.findById(turn.conversation).lean()) ?? {};
    expect((await client.messages(opencodeSessionId ?? '')).at(-1)?.info.error?.name).toBe(
      'MessageAbortedError',
    );
    expect(aborts.length).toBeGreaterThan(1);
  });
});

describe('a run that is never seen to end', () => {
  it.each([
    ['a cancel', 'brief', { status: 'cancelled', error: { reason: 'cancel_unconfirmed' } }],
    ['a time limit', 'out of time', { status: 'error', error: { reason: 'deadline_turn_timeout_ms' } }],
  ] as const)('is told by %s, and ended by the sweeper', async (what, policy, end) => {
    forgotten = Number.POSITIVE_INFINITY;
    const turn = await started(policy);
    await turn.streaming();
    if (what === 'a cancel') await turns.cancel(turn.id);
    const stored = await turn.followed;
    const error = { ...end.error, unconfirmed: true };
    expect(stored).toMatchObject({ ...end, text: 'some text ', error, run: { openStops: [{}] } });
    const { detail: _detail, ...told } = stored.error ?? {};
    expect(turn.entries.at(-1)).toMatchObject({ type: 'finished', status: end.status, error: told });
    await eventually(() => expect(outcomes.at(-1)).toMatchObject({ turnId: turn.id, error }));
    expect(running()).toHaveLength(1);
    forgotten = 0;
    await eventually(async () => expect((await turns.get(turn.id))?.run).not.toHaveProperty('openStops'));
    await expectNothingRuns();
    const tried = aborts.length;
    // What is closed is left alone: the same session serves the next turn, which nobody aborts.
    system.respond(() => ({ text: ['a ', 'b ', 'c'], chunkDelayMs: 700 }));
    const next = await runTurn(turns, turn.conversation, 'next', policy === 'brief' ? 'brief' : 'default');
    expect(next.stored).toMatchObject({ status: 'completed', text: 'a b c' });
    expect(next.stored.run.sessionId).toBe(stored.run.sessionId);
    expect(aborts.length).toBe(tried);
  });

  it("is waited for by the conversation's next turn, which then goes on in the session", async () => {
    forgotten = Number.POSITIVE_INFINITY;
    const turn = await started('brief');
    await turn.streaming();
    await turns.cancel(turn.id);
    const stored = await turn.followed;
    expect(stored.error).toMatchObject({ reason: 'cancel_unconfirmed' });
    system.respond(({ userText }) => (userText === 'behind' ? { text: ['mine'] } : held));
    const since = proxy.requests.length;
    const { id } = await turns.enqueue({ conversation: turn.conversation, text: 'behind' });
    // It stands in front of its prompt, and what ran before it is aborted.
    await eventually(async () => expect((await turns.get(id))?.run.phase).toBe('prompting'));
    const before = aborts.length;
    await eventually(() => expect(aborts.length).toBeGreaterThan(before));
    const early = proxy.requests.slice(since);
    forgotten = 0;
    await eventually(
      async () => expect(await turns.get(id)).toMatchObject({ status: 'completed', text: 'mine' }),
      30_000,
    );
    const kept = { sessionId: stored.run.sessionId, resends: 0, reruns: 0 };
    expect((await turns.get(id))?.run).toMatchObject(kept);
    // The prompt would be swallowed by what ran before it: not a moment too early, and once.
    expect(early.filter(isInputRequest)).toEqual([]);
    expect(proxy.requests.slice(since).filter(isInputRequest)).toHaveLength(1);
    expect((await turns.get(turn.id))?.run).not.toHaveProperty('openStops');
    await expectNothingRuns();
  });

  it("leaves a new session to the conversation's next turn when it does not end", async () => {
    forgotten = Number.POSITIVE_INFINITY;
    const turn = await started('brief');
    await turn.streaming();
    await turns.cancel(turn.id);
    const stored = await turn.followed;
    system.respond(({ userText }) => (userText === 'next' ? { text: ['mine'] } : held));
    const next = await runTurn(turns, turn.conversation, 'next', 'brief');
    expect(next.stored).toMatchObject({ status: 'completed', text: 'mine', run: { resends: 1 } });
    expect(next.stored.run.sessionId).not.toBe(stored.run.sessionId);
    expect((await turns.get(turn.id))?.run.openStops).toHaveLength(1);
    forgotten = 0;
    await expectNothingRuns();
    await eventually(async () => expect((await turns.get(turn.id))?.run).not.toHaveProperty('openStops'));
  });
});

it('a run in a session that was deleted, whose prompt went to a new one, is ended by the sweeper when it was not seen to end', async () => {
  forgotten = Number.POSITIVE_INFINITY;
  const turn = await started('brief');
  await turn.streaming();
  const { sessionId = '' } = (await turns.get(turn.id))?.run ?? {};
  system.respond(() => ({ text: ['mine'] }));
  await client.deleteSession(sessionId);
  const stored = await turn.followed;
  expect(stored).toMatchObject({
    status: 'completed',
    text: 'mine',
    run: { resends: 1, reruns: 0, openStops: [{ sessionId }] },
  });
  expect(stored.run.sessionId).not.toBe(sessionId);
  expect(stored.error).toBeUndefined();
  // It goes on, and the turn has not waited for it.
  expect(running()).toHaveLength(1);
  forgotten = 0;
  await eventually(async () => expect((await turns.get(turn.id))?.run).not.toHaveProperty('openStops'));
  await expectNothingRuns();
  expect(turn.asked()).toBe(2);
});
