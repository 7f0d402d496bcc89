import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Step } from '../../dev/scripted-model/script.ts';
import type { RunningWorker, StoredTurn, TurnEntry, Turns } from '../../src/index.ts';
import { serverAddress } from '../../src/opencode/address.ts';
import { deferred } from '../support/deferred.ts';
import { eventually } from '../support/eventually.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { concatenated, newConversation } from '../support/turns.ts';
import { type EventWire, startUpstreamProxy, type UpstreamProxy } from '../support/upstream-proxy.ts';

let system: TestSystem;
let proxy: UpstreamProxy;
let turns: Turns;
let worker: RunningWorker;
/** While true the directory has no event stream: it is cut, and no new one is to be had. */
let deaf = false;
/** How many reads of messages are still answered with old ones. */
let unshown = 0;
/** While true the question how old an instance is gets a page for an answer. */
let blind = false;
const wires = new Set<EventWire>();

beforeAll(async () => {
  system = await startSystem();
  const { url, password = '' } = system.opencode;
  proxy = await startUpstreamProxy(url);
  proxy.spoil(system.policy.directory(), (wire) => {
    wires.add(wire);
    return (frame) => wire.send(frame);
  });
  proxy.before(async ({ path: route }) => {
    if (deaf && route === '/event') throw new Error('no stream');
  });
  proxy.substitute(({ path: route }) =>
    blind && route === '/project/current'
      ? { status: 200, headers: { 'content-type': 'text/html' }, body: '<p>proxy</p>' }
      : undefined,
  );
  turns = await system.connect({ opencode: { url: proxy.url, password } });
  worker = await turns.work({
    policies: {
      default: system.policy,
      failing: { ...system.policy, onUpstreamLost: 'fail' },
      // Not for the others: a server that starts an instance on a busy machine fails for longer than that.
      blind: { ...system.policy, limits: { wrongAnswerTimeoutMs: 500 } },
    },
  });
}, 90_000);
afterAll(async () => {
  await system.stop();
  await proxy.stop();
});

const held = (): Step => ({ text: ['one ', 'two ', 'three'], gate: deferred().promise, gateAt: 2 });

/** Asks the server itself. */
async function ask(method: string, route: string, directory: string, body?: unknown) {
  const { url, password } = system.opencode;
  const { headers } = serverAddress(url, undefined, password);
  const response = await fetch(`${url}${route}?directory=${encodeURIComponent(directory)}`, {
    method,
    headers: { ...headers, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  expect(response.status).toBe(200);
  await response.text();
}

/** So many reads of messages still show those of before the prompt that is posted next: it is accepted, and comes later. */
function slowToShow(reads: number): void {
  unshown = reads;
  let before: unknown;
  proxy.before(async ({ path: route }) => {
    if (deaf && route === '/event') throw new Error('no stream');
    if (!route.endsWith('/prompt_async')) return;
    const { url, password } = system.opencode;
    const { headers } = serverAddress(url, undefined, password);
    before = await (await fetch(`${url}${route.replace('prompt_async', 'message')}`, { headers })).json();
  });
  proxy.instead(({ method, path: route }) => {
    if (before === undefined || unshown === 0) return undefined;
    if (route === '/session/status') return { body: {} };
    if (method !== 'GET' || !route.endsWith('/message')) return undefined;
    unshown -= 1;
    return { body: before };
  });
}

/** A turn that streams, until `end` is called while its directory has no stream; then the stored turn. */
async function deafTurn(
  name: string,
  end: (sessionId: string) => Promise<unknown>,
  streams: () => void = () => undefined,
) {
  system.respond(held);
  const conversation = await newConversation(turns);
  const before = system.model.turnRequests.length;
  const { id } = await turns.enqueue({ conversation, text: 'go', policy: name });
  const entries: TurnEntry[] = [];
  const follow = async () => {
    for await (const entry of turns.follow(id)) entries.push(entry);
    return (await turns.get(id)) as StoredTurn;
  };
  const ended = follow();
  ended.catch(() => undefined);
  await eventually(() => expect(concatenated(entries)).toBe('one two '), 30_000);
  streams();
  system.respond(() => ({ text: ['one ', 'two ', 'again'] }));
  deaf = true;
  for (const wire of wires) wire.cut();
  wires.clear();
  try {
    await end((await turns.get(id))?.run.sessionId ?? '');
    const stored = await ended;
    return { stored, entries, requests: system.model.turnRequests.length - before };
  } finally {
    deaf = false;
  }
}

const directory = () => system.policy.directory();
const disposals: Readonly<Record<string, () => Promise<void>>> = {
  'its instance was disposed of': () => ask('POST', '/instance/dispose', directory()),
  'its configuration was changed': () => ask('PATCH', '/config', directory(), { username: 'somebody' }),
  'all instances were disposed of': () => ask('POST', '/global/dispose', directory()),
};

describe('while nobody hears the events of a directory', () => {
  it.each(Object.entries(disposals))('%s: the run is lost, and run again', async (_, dispose) => {
    const { stored, entries, requests } = await deafTurn('default', dispose);
    expect(stored.error).toBeUndefined();
    expect(stored).toMatchObject({
      status: 'completed',
      text: 'one two again',
      run: { reruns: 1, resends: 0, epoch: 1 },
    });
    expect(entries).toContainEqual(expect.objectContaining({ type: 'progress', progress: 'rerun' }));
    expect(requests).toBe(2);
  });

  it('the server takes its time with the second prompt: what it shows of the first one is not lost again', async () => {
    const dispose = disposals['its instance was disposed of'] as () => Promise<void>;
    const { stored, requests } = await deafTurn('default', dispose, () => slowToShow(20));
    expect(stored.error).toBeUndefined();
    expect(stored).toMatchObject({ status: 'completed', text: 'one two again', run: { reruns: 1 } });
    expect(requests).toBe(2);
    expect(unshown).toBe(0);
  });

  it('its instance was disposed of: interrupted as lost when the policy says so', async () => {
    const { stored, requests } = await deafTurn(
      'failing',
      disposals['its instance was disposed of'] as never,
    );
    expect(stored).toMatchObject({
      status: 'error',
      text: 'one two ',
      error: { reason: 'run_lost', detail: expect.stringContaining('lost') },
      run: { reruns: 0 },
    });
    expect(requests).toBe(1);
  });

  it('somebody aborted the run, and other instances of the same project began: interrupted', async () => {
    const other = path.join(system.sandboxRoot, 'other');
    mkdirSync(other);
    const { stored, requests } = await deafTurn('default', async (sessionId) => {
      await ask('POST', `/session/${sessionId}/abort`, directory());
      await ask('GET', '/project/current', other);
    });
    expect(stored).toMatchObject({
      status: 'error',
      text: 'one two ',
      error: { reason: 'aborted_upstream', detail: expect.stringContaining('somebody else') },
      run: { reruns: 0 },
    });
    expect(requests).toBe(1);
  });

  it('nobody can say how old the instance is: aborted, and nothing is asked again', async () => {
    blind = true;
    const dispose = disposals['its instance was disposed of'] as () => Promise<void>;
    const { stored, requests } = await deafTurn('blind', dispose).finally(() => {
      blind = false;
    });
    expect(stored).toMatchObject({
      status: 'error',
      error: { reason: 'aborted_upstream' },
      run: { reruns: 0 },
    });
    expect(requests).toBe(1);
  });
});

it('leaves no turn behind', () => {
  expect(worker.active).toBe(0);
});
