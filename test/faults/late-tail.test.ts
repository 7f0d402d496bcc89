import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Step } from '../../dev/scripted-model/script.ts';
import type { StoredTurn, Turns } from '../../src/index.ts';
import { serverAddress } from '../../src/opencode/address.ts';
import { openCodeClient } from '../../src/opencode/v1/client.ts';
import type { OpenCode } from '../../src/opencode/v1/server.ts';
import type { WireMessage } from '../../src/reply/wire.ts';
import { deferred } from '../support/deferred.ts';
import { eventually } from '../support/eventually.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { newConversation } from '../support/turns.ts';
import {
  type EventFault,
  type EventWire,
  startUpstreamProxy,
  type UpstreamProxy,
} from '../support/upstream-proxy.ts';
import { expectWholeStory } from './promises.ts';

interface Event {
  readonly type: string;
  readonly properties: {
    readonly sessionID?: string;
    readonly info?: { readonly id?: string; readonly title?: string; readonly role?: string };
    readonly status?: { readonly type: string };
  };
}
const eventOf = (frame: string) => JSON.parse(frame.slice('data: '.length)) as Event;

const color = { question: 'Which?', header: 'Color', options: [{ label: 'Blue', description: 'b' }] };
const started = (statuses: readonly string[]) => expect(statuses).not.toEqual([]);
const over = (statuses: readonly string[]) => expect(statuses).toEqual([]);

/** The turn before: what its model says, the event from which on its stream is late, and when it is cancelled. */
const before: Record<string, { says: Step; from: (event: Event) => boolean; reached: typeof over }> = {
  'an error': {
    says: { error: { status: 401 } },
    from: ({ type }) => type === 'session.error',
    reached: over,
  },
  'an abort': {
    says: { text: ['never ', 'sent'], gate: deferred().promise, gateAt: 1 },
    from: ({ type }) => type === 'session.error',
    reached: started,
  },
  'a question': {
    says: { tools: [{ name: 'question', input: { questions: [color] } }] },
    from: ({ type }) => type === 'question.asked',
    reached: started,
  },
  'a retry': {
    says: { error: { status: 500 } },
    from: ({ properties }) => properties.status?.type === 'retry',
    reached: (statuses) => expect(statuses).toEqual(['retry']),
  },
};

/** The late rest of a stream, and how it goes on. */
interface Tail {
  readonly frames: string[];
  readonly late: (event: Event) => boolean;
  readonly prompts: Set<string>;
  wire: EventWire | undefined;
  afterEcho: boolean;
  state: 'whole' | 'held' | 'awaits echo' | 'sent';
  /** How many looks upstream still takes to begin with the next turn, and what it tells of that when it has. */
  slowPolls: number;
  readonly beginning: string[];
}

let system: TestSystem;
let proxy: UpstreamProxy;
let turns: Turns;
let client: OpenCode;
const tails = new Map<string, Tail>();

function send(tail: Tail): void {
  tail.state = 'sent';
  tail.wire?.send(...tail.frames.splice(0));
}

/** Sessions are told by the titles that the test gave them. */
const lateTails: EventFault = (wire) => (frame) => {
  const event = eventOf(frame);
  const { sessionID = '', info } = event.properties;
  const [what = '', when] = (info?.title ?? '').split(', ');
  const { from } = before[what] ?? {};
  if (from && !tails.has(sessionID)) {
    const afterEcho = when === afterItsEcho;
    tails.set(sessionID, {
      frames: [],
      late: from,
      prompts: new Set(),
      wire,
      afterEcho,
      state: 'whole',
      slowPolls: 0,
      beginning: [],
    });
  }
  const tail = tails.get(sessionID);
  if (tail?.state === 'whole' && tail.late(event)) tail.state = 'held';
  if (tail?.state === 'held') return void tail.frames.push(frame);
  if (tail && tail.slowPolls > 0 && (tail.beginning.length > 0 || event.type === 'session.status'))
    return void tail.beginning.push(frame);
  wire.send(frame);
  if (!tail || event.type !== 'message.updated' || info?.role !== 'user') return;
  if (tail.state === 'awaits echo' && !tail.prompts.has(info.id ?? '')) send(tail);
  tail.prompts.add(info.id ?? '');
};

/** A prompt that is stored, and a session that is not busy yet: so it is for some ms, in a new directory for seconds. */
const slowStart = (sessionId: string | undefined) => (body: unknown) => {
  if (Array.isArray(body)) {
    const tail = tails.get(sessionId ?? '');
    if (!tail || tail.slowPolls === 0) return body;
    tail.slowPolls -= 1;
    if (tail.slowPolls === 0) tail.wire?.send(...tail.beginning.splice(0));
    const messages = body as readonly WireMessage[];
    const prompt = messages.findLastIndex(({ info }) => info.role === 'user');
    return messages.slice(0, prompt + 1);
  }
  const busy = Object.entries(body as object);
  return Object.fromEntries(busy.filter(([id]) => (tails.get(id)?.slowPolls ?? 0) === 0));
};

const beforeItsPrompt = 'before the prompt is posted';
const afterItsEcho = 'after the prompt was told';

beforeAll(async () => {
  system = await startSystem();
  const { url, password } = system.opencode;
  client = openCodeClient({ address: serverAddress(url, undefined, password) });
  proxy = await startUpstreamProxy(url);
  proxy.spoil(system.policy.directory(), lateTails);
  proxy.before(async ({ path }) => {
    const [, sessionId = ''] = /session\/(\w+)\/prompt_async/.exec(path) ?? [];
    const tail = tails.get(sessionId);
    if (tail?.state !== 'held') return;
    tail.slowPolls = 4;
    if (tail.afterEcho) tail.state = 'awaits echo';
    else send(tail);
  });
  proxy.rewrite(({ method, path }) => {
    const [, sessionId] = /^\/session\/(\w+)\/message$/.exec(path) ?? [];
    return method === 'GET' && (sessionId || path === '/session/status') ? slowStart(sessionId) : undefined;
  });
  turns = await system.connect({ opencode: { url: proxy.url, ...(password ? { password } : {}) } });
  const limits = { maxUpstreamRetries: 0 };
  await turns.work({ policies: { default: { ...system.policy, limits } } });
  system.respond(({ userText }) => before[userText]?.says ?? { text: ['the second'] });
}, 90_000);
afterAll(async () => {
  await system.stop();
  await proxy.stop();
});

async function ended(id: string) {
  const entries = [];
  for await (const entry of turns.follow(id)) entries.push(entry);
  const stored = (await turns.get(id)) as StoredTurn;
  return { entries, stored };
}

const statusesOf = async (sessionId: string) => {
  const { [sessionId]: status } = await client.statuses(system.policy.directory());
  return status ? [status.type] : [];
};

describe('what is left of the turn before', () => {
  it.each([
    ['an error', beforeItsPrompt],
    ['an error', afterItsEcho],
    ['an abort', beforeItsPrompt],
    ['an abort', afterItsEcho],
    ['a question', beforeItsPrompt],
    ['a retry', beforeItsPrompt],
  ])('%s, %s, is not the next one’s', async (what, when) => {
    const conversation = await newConversation(turns, `${what}, ${when}`);
    const first = await turns.enqueue({ conversation, text: what });
    const sessionId = await eventually(async () => {
      const { run } = (await turns.get(first.id)) as StoredTurn;
      expect(run.phase).toBe('prompted');
      return run.sessionId ?? '';
    });
    await eventually(async () => {
      expect(system.model.turnRequests.at(-1)?.userText).toBe(what);
      before[what]?.reached(await statusesOf(sessionId));
      if (what !== 'an abort') expect(tails.get(sessionId)?.frames).not.toEqual([]);
    });
    await turns.cancel(first.id);
    expect((await ended(first.id)).stored.status).toBe('cancelled');
    await eventually(() => expect(tails.get(sessionId)?.frames).not.toEqual([]));
    const asked = system.model.turnRequests.length;

    const second = await turns.enqueue({ conversation, text: 'go on' });
    const { entries, stored } = await ended(second.id);
    expect(tails.get(sessionId)?.state).toBe('sent');
    expect(stored).toMatchObject({
      status: 'completed',
      text: 'the second',
      requests: [],
      run: { sessionId, reruns: 0, resends: 0 },
    });
    expectWholeStory(entries, stored);
    expect(entries.filter(({ type }) => type === 'retry' || type === 'request')).toEqual([]);
    expect(system.model.turnRequests.length - asked).toBe(1);
  });
});
