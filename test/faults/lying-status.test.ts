import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { ModelRequest, Step } from '../../dev/scripted-model/script.ts';
import type { RunningWorker, StoredTurn, Turns } from '../../src/index.ts';
import { deferred } from '../support/deferred.ts';
import { eventually } from '../support/eventually.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { followAll, newConversation } from '../support/turns.ts';
import { type EventWire, startUpstreamProxy, type UpstreamProxy } from '../support/upstream-proxy.ts';

let system: TestSystem;
let proxy: UpstreamProxy;
let turns: Turns;
let worker: RunningWorker;
const wires = new Set<EventWire>();
/** While true every session is said to be idle, whatever it does. */
let lying = false;
/** While true no abort arrives; the answer says that it did. */
let unheeded = false;
/** Says from its first abort on what is true again. */
let honestAfterAbort = false;

const isAbort = ({ path }: { path: string }) => path.endsWith('/abort');
const isPrompt = ({ path }: { path: string }) => path.endsWith('/prompt_async');

beforeAll(async () => {
  system = await startSystem();
  const { url, password = '' } = system.opencode;
  proxy = await startUpstreamProxy(url);
  proxy.spoil(system.policy.directory(), (wire) => {
    wires.add(wire);
    return (frame) => wire.send(frame);
  });
  proxy.rewrite(({ path }) => (lying && path === '/session/status' ? () => ({}) : undefined));
  proxy.instead((request) => {
    if (!isAbort(request)) return undefined;
    if (honestAfterAbort) lying = false;
    return unheeded ? { body: true } : undefined;
  });
  turns = await system.connect({ opencode: { url: proxy.url, password } });
  worker = await startWorker(turns);
}, 90_000);
afterEach(() => {
  lying = false;
  unheeded = false;
  honestAfterAbort = false;
});
afterAll(async () => {
  await system.stop();
  await proxy.stop();
});

function startWorker(from: Turns): Promise<RunningWorker> {
  const limits = { lostAfterMs: 2_000, cancelTimeoutMs: 3_000 };
  return from.work({
    policies: {
      default: { ...system.policy, limits },
      failing: { ...system.policy, limits, onUpstreamLost: 'fail' },
    },
    sweeper: { everyMs: 500, minAgeMs: 0 },
  });
}

const held = (): Step => ({ text: ['one ', 'two ', 'three'], gate: deferred().promise, gateAt: 2 });

/** A turn whose model holds; from then on the status lies, and a gap makes somebody look. */
async function lostTurn(policy: string, says: (request: ModelRequest) => Step, asked = 1) {
  const before = system.model.turnRequests.length;
  const from = proxy.requests.length;
  system.respond(says);
  const conversation = await newConversation(turns);
  const { id } = await turns.enqueue({ conversation, text: 'go', policy });
  const ended = followAll(turns, id).then(async () => (await turns.get(id)) as StoredTurn);
  ended.catch(() => undefined);
  const requests = () => system.model.turnRequests.slice(before);
  await eventually(() => expect(requests()).toHaveLength(asked), 30_000);
  await eventually(async () => expect((await turns.get(id))?.run.phase).toBe('prompted'), 30_000);
  /** What had become of the runs when the model was asked again. */
  const outcomes: ModelRequest['outcome'][] = [];
  system.respond(() => {
    outcomes.push(
      ...requests()
        .slice(0, asked)
        .map(({ outcome }) => outcome),
    );
    return { text: ['once ', 'more'] };
  });
  lying = true;
  for (const wire of wires) wire.cut();
  wires.clear();
  const posts = () => proxy.requests.slice(from).filter(isPrompt).length;
  return { id, ended, requests, outcomes, posts };
}

const child = { description: 'look', prompt: 'child work', subagent_type: 'general' };
const delegating = ({ userText }: ModelRequest): Step =>
  userText === 'go' ? { text: ['So: '], tools: [{ name: 'task', input: child }] } : held();

describe('a run that a status calls idle while it works', () => {
  it('is stopped before it is run again', async () => {
    const { ended, requests, outcomes } = await lostTurn('default', held);
    expect(await ended).toMatchObject({ status: 'completed', text: 'once more', run: { reruns: 1 } });
    expect(requests()).toHaveLength(2);
    expect(outcomes).toEqual(['aborted']);
  }, 60_000);

  it('is stopped with its sub-agent before it is run again', async () => {
    const { ended, requests, outcomes } = await lostTurn('default', delegating, 2);
    expect(await ended).toMatchObject({ status: 'completed', run: { reruns: 1 } });
    expect(requests()).toHaveLength(3);
    expect(outcomes).toEqual(['completed', 'aborted']);
  }, 60_000);

  it('is stopped before its turn ends as lost', async () => {
    const { ended, requests } = await lostTurn('failing', held);
    const stored = await ended;
    expect(requests().map(({ outcome }) => outcome)).toEqual(['aborted']);
    expect(stored).toMatchObject({ status: 'error', text: 'one two ', error: { reason: 'run_lost' } });
    expect(stored.error).not.toHaveProperty('unconfirmed');
    expect(stored.run).not.toHaveProperty('openStops');
  }, 60_000);

  it('and that heeds no abort is not run again: the turn says so, and the sweeper goes on', async () => {
    unheeded = true;
    honestAfterAbort = true;
    const { id, ended, requests, posts } = await lostTurn('default', held);
    expect(await ended).toMatchObject({
      status: 'error',
      error: { reason: 'run_lost', unconfirmed: true },
      run: { reruns: 0, openStops: [expect.anything()] },
    });
    expect(requests().map(({ outcome }) => outcome)).toEqual([undefined]);
    expect(posts()).toBe(1);
    unheeded = false;
    await eventually(() => expect(requests().map(({ outcome }) => outcome)).toEqual(['aborted']), 30_000);
    await eventually(async () => expect((await turns.get(id))?.run).not.toHaveProperty('openStops'), 30_000);
  }, 60_000);

  it('is not lost as long as its stream tells more', async () => {
    const words = Array.from({ length: 20 }, (_, at) => `${at} `);
    const { ended, requests } = await lostTurn('default', () => ({ text: words, chunkDelayMs: 300 }));
    expect(await ended).toMatchObject({ status: 'completed', text: words.join(''), run: { reruns: 0 } });
    expect(requests()).toHaveLength(1);
  }, 60_000);

  it('and that ends while it is stopped has answered', async () => {
    unheeded = true;
    const gate = deferred();
    proxy.before((request) => {
      if (isAbort(request)) gate.resolve();
      return undefined;
    });
    const says = (): Step => ({ text: ['one ', 'two'], gate: gate.promise, gateAt: 1 });
    const { ended, posts } = await lostTurn('default', says);
    expect(await ended).toMatchObject({ status: 'completed', text: 'one two', run: { reruns: 0 } });
    expect(posts()).toBe(1);
    proxy.before(() => undefined);
  }, 60_000);
});

describe('an owner that leaves when it has stopped a lost run', () => {
  it('and has not prompted again: the next one does, and takes nobody else for who aborted it', async () => {
    const posting = deferred();
    let posts = 0;
    proxy.before(async (request) => {
      if (!isPrompt(request)) return;
      posts += 1;
      if (posts !== 2) return;
      posting.resolve();
      throw new Error('its sender leaves');
    });
    const { id, ended, requests } = await lostTurn('default', held);
    await posting.promise;
    await worker.stop(0);
    lying = false;
    expect(requests().map(({ outcome }) => outcome)).toEqual(['aborted']);
    const { password = '' } = system.opencode;
    worker = await startWorker(await system.connect({ opencode: { url: proxy.url, password } }));
    expect(await ended).toMatchObject({
      status: 'completed',
      text: 'once more',
      run: { reruns: 1, resends: 0, epoch: 2 },
    });
    expect(requests()).toHaveLength(2);
    expect((await turns.get(id))?.error).toBeUndefined();
  }, 60_000);
});

it('leaves no turn behind', async () => {
  await eventually(() => expect(worker.active).toBe(0));
});
