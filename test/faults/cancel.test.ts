import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { StoredTurn, TurnEntry, Turns } from '../../src/index.ts';
import { serverAddress } from '../../src/opencode/address.ts';
import { openCodeClient } from '../../src/opencode/v1/client.ts';
import type { OpenCode } from '../../src/opencode/v1/server.ts';
import { deferred } from '../support/deferred.ts';
import { eventually } from '../support/eventually.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { concatenated, newConversation } from '../support/turns.ts';
import { startUpstreamProxy, type UpstreamProxy } from '../support/upstream-proxy.ts';
import { startWorkerProcess, type WorkerProcess } from '../support/worker-process.ts';

let system: TestSystem;
let proxy: UpstreamProxy;
let client: OpenCode;
/** Enqueues and cancels, and works on nothing: the workers are other processes. */
let web: Turns;
let worker: WorkerProcess;

beforeAll(async () => {
  system = await startSystem();
  const { url, password } = system.opencode;
  proxy = await startUpstreamProxy(url);
  client = openCodeClient({ address: serverAddress(url, undefined, password) });
  const aborted = new Set<string>();
  proxy.before(({ method, path: route, directory = '' }) => {
    if (method === 'POST' && route === '/session') return heldMints.get(path.basename(directory));
    // The first abort of each session never arrives.
    if (!route.endsWith('/abort') || aborted.has(route)) return undefined;
    aborted.add(route);
    return Promise.reject(new Error('cut'));
  });
  web = await system.connect();
  system.respond(({ userText }) => situations[userText.split(',')[0] as Situation]?.says ?? held);
}, 90_000);
afterAll(async () => {
  worker.kill('SIGKILL');
  await system.stop();
  await proxy.stop();
});

const held = { text: ['some ', 'text ', 'never sent'], gate: deferred().promise, gateAt: 2 };
const calls = (name: string, input: Record<string, unknown>) => ({
  text: ['So: '],
  tools: [{ name, input }],
});
const colors = { question: 'Which?', header: 'Color', options: [{ label: 'Blue', description: 'b' }] };
const child = { description: 'look', prompt: 'child work', subagent_type: 'general' };

const situations = {
  running: {
    says: held,
    text: 'some text ',
    reached: ({ entries }: Started) => expect(concatenated(entries)).toBe('some text '),
  },
  'a question open': {
    says: calls('question', { questions: [colors] }),
    text: 'So: ',
    reached: async ({ id }: Started) => expect((await web.get(id))?.requests).toHaveLength(1),
  },
  'a sub-agent running': {
    says: calls('task', child),
    text: 'So: ',
    reached: async ({ conversation }: Started) => {
      const statuses = await client.statuses(path.join(system.sandboxRoot, conversation));
      expect(Object.keys(statuses)).toHaveLength(2);
    },
  },
  'a retry awaited': {
    says: { error: { status: 500 } },
    text: '',
    reached: ({ entries }: Started) => expect(entries.some(({ type }) => type === 'retry')).toBe(true),
  },
  'its session being minted': {
    says: held,
    text: '',
    reached: ({ conversation }: Started) =>
      expect(proxy.requests).toContainEqual(
        expect.objectContaining({
          method: 'POST',
          path: '/session',
          directory: expect.stringContaining(conversation),
        }),
      ),
  },
} as const;
type Situation = keyof typeof situations;
const names = Object.keys(situations) as Situation[];
const minting = 'its session being minted' satisfies Situation;

interface Started {
  readonly id: string;
  readonly conversation: string;
  readonly entries: TurnEntry[];
  readonly followed: Promise<void>;
}

const startWorker = () =>
  startWorkerProcess(system, { OPENCODE_URL: proxy.url, OPENCODE_TURNS_LOCK_LEASE_MS: '1000' });

/** Mints that wait at the proxy, by conversation. */
const heldMints = new Map<string, Promise<void>>();

/** One turn for each situation, all of them in it. The mint waits at the proxy for `minted`. */
async function startAll(marker: string, minted: Promise<void>): Promise<Map<Situation, Started>> {
  const conversations = await Promise.all(names.map(() => newConversation(web)));
  const mint = conversations[names.indexOf(minting)] as string;
  heldMints.set(mint, minted);
  const started = new Map<Situation, Started>();
  for (const [at, name] of names.entries()) {
    const conversation = conversations[at] as string;
    const { id } = await web.enqueue({ conversation, text: `${name}, ${marker}` });
    const entries: TurnEntry[] = [];
    const follow = async () => {
      for await (const entry of web.follow(id)) entries.push(entry);
    };
    started.set(name, { id, conversation, entries, followed: follow() });
  }
  for (const [name, turn] of started) await eventually(() => situations[name].reached(turn), 30_000);
  return started;
}

/** Cancelled once for everybody, what was said is kept, nobody is asked any more, and nothing runs upstream. */
async function expectCancelled(name: Situation, { id, conversation, entries, followed }: Started) {
  await followed;
  const stored = (await web.get(id)) as StoredTurn;
  expect(stored).toMatchObject({ status: 'cancelled', text: situations[name].text });
  expect(stored.error).toBeUndefined();
  expect(stored.parts.flatMap((part) => (part.type === 'text' ? [part.text] : [])).join('')).toBe(
    stored.text,
  );
  expect(concatenated(entries)).toBe(stored.text);
  expect(entries.filter(({ type }) => type === 'finished')).toMatchObject([{ status: 'cancelled' }]);
  expect(stored.requests.map(({ state }) => state)).toEqual(name === 'a question open' ? ['closed'] : []);
  expect(await client.statuses(path.join(system.sandboxRoot, conversation))).toEqual({});
  expect(await web.cancel(id)).toBe('finished');
}

const expectNobodyAsked = () =>
  eventually(() =>
    expect(system.model.requests.filter(({ outcome }) => outcome === undefined)).toHaveLength(0),
  );

describe('a cancel from another process', () => {
  const minted = { alive: deferred(), dead: deferred() };
  let alive: Map<Situation, Started>;
  let dead: Map<Situation, Started>;

  it('reaches a running owner: its abort is upstream soon', async () => {
    worker = await startWorker();
    alive = await startAll('owner alive', minted.alive.promise);
    const waiting = await web.enqueue({ conversation: conversationOf(alive, 'running'), text: 'waiting' });
    expect(await web.cancel(waiting.id)).toBe('cancelled');
    const took: string[] = [];
    for (const [name, { id }] of alive) {
      const since = performance.now();
      expect(await web.cancel(id)).toBe('requested');
      if (name === minting) continue;
      const { sessionId } = (await web.get(id))?.run ?? {};
      const abort = await eventually(() => {
        const found = proxy.requests.find(({ path: route }) => route === `/session/${sessionId}/abort`);
        if (!found) throw new Error('no abort yet');
        return found;
      });
      took.push(`${name} ${Math.round(abort.at - since)} ms`);
    }
    writeFileSync(process.stderr.fd, `cancel to abort: ${took.join(', ')}\n`);
    expect(await web.get(waiting.id)).toMatchObject({ status: 'cancelled', run: { epoch: 0 } });
    expect(system.model.requests.some(({ userText }) => userText === 'waiting')).toBe(false);
  }, 60_000);

  it.each(names.filter((name) => name !== minting))('ends a turn with %s', async (name) => {
    await expectCancelled(name, alive.get(name) as Started);
  });

  it('ends a turn with its session being minted, and leaves no session when that is done at last', async () => {
    // The mint is waited for some seconds, in which the next turns may start.
    const starting = startAll('owner dead', minted.dead.promise);
    await expectCancelled(minting, alive.get(minting) as Started);
    minted.alive.resolve();
    const directory = path.join(system.sandboxRoot, conversationOf(alive, minting));
    const deletes = () => proxy.requests.filter(({ method }) => method === 'DELETE');
    await eventually(() => expect(deletes()).toHaveLength(1));
    await eventually(async () => expect(await client.sessions(directory)).toEqual([]));
    dead = await starting;
  });

  it('is stored when the owner is dead, and done by the next one', async () => {
    worker.kill('SIGKILL');
    await worker.exited;
    for (const { id } of dead.values()) expect(await web.cancel(id)).toBe('requested');
    worker = await startWorker();
  }, 60_000);

  it.each(names)('ends a turn with %s and a dead owner', async (name) => {
    await expectCancelled(name, dead.get(name) as Started);
    expect((await web.get(dead.get(name)?.id ?? ''))?.run.epoch).toBe(2);
  });

  it('leaves no model asked, and the worker without turns', async () => {
    await expectNobodyAsked();
    minted.dead.resolve();
    worker.kill('SIGTERM');
    expect(await worker.exited).toEqual([0, null]);
  });
});

const conversationOf = (started: Map<Situation, Started>, name: Situation) =>
  started.get(name)?.conversation ?? '';
