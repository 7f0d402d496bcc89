/** `turns.result`: the turn once it is over, whoever runs it. */
import { getEventListeners } from 'node:events';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import type { RunningWorker, Turns } from '../../src/index.ts';
import { deferred } from '../support/deferred.ts';
import { eventually } from '../support/eventually.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';
import { newConversation, runTurn } from '../support/turns.ts';

let system: TestSystem;
let turns: Turns;
let worker: RunningWorker;
let redis: TcpProxy;
/** A web app that reaches Redis through a proxy, and runs nothing. */
let web: Turns;
beforeAll(async () => {
  system = await startSystem();
  redis = await startTcpProxy(system.redis.url);
  turns = await system.connect();
  web = await system.connect({ redis: `redis://127.0.0.1:${redis.port}` });
  worker = await turns.work({ policies: { default: system.policy } });
}, 90_000);
afterAll(async () => {
  redis?.restore();
  await system?.stop();
  await redis?.stop();
});

const subscribed = async (id: string) => {
  const { prefix = '' } = system.options;
  const { Redis } = await import('ioredis');
  const client = new Redis(system.redis.url);
  const [, count] = (await client.pubsub('NUMSUB', `${prefix}:turn:{${id}}`)) as [string, number];
  await client.quit();
  return count;
};
const nobodyListens = (id: string) => eventually(async () => expect(await subscribed(id)).toBe(0));
/** A turn whose model says nothing more until `go`. */
async function held() {
  const gate = deferred();
  system.respond(() => ({ text: ['some ', 'text'], gate: gate.promise, gateAt: 1 }));
  const { id } = await turns.enqueue({ conversation: await newConversation(turns), text: 'go' });
  await eventually(async () => expect(await turns.get(id)).toMatchObject({ run: { phase: 'prompted' } }));
  return { id, go: () => gate.resolve(undefined) };
}

it('one that ended long ago: at once, without a subscription', async () => {
  system.respond(() => ({ text: ['fine'] }));
  const { id, stored } = await runTurn(turns, await newConversation(turns), 'hello');
  expect(stored.status).toBe('completed');
  expect(await web.result(id)).toEqual(stored);
});

it('one that ends meanwhile, for several who wait, in whichever process', async () => {
  const { id, go } = await held();
  const waiting = [turns.result(id), web.result(id), web.result(id)];
  await eventually(async () => expect(await subscribed(id)).toBe(2));
  go();
  for (const turn of await Promise.all(waiting))
    expect(turn).toMatchObject({ id, status: 'completed', text: 'some text' });
  await nobodyListens(id);
});

it('the end of a real turn is notified as its end, by its worker and by whoever cancels it', async () => {
  const heard: string[] = [];
  const { id, go } = await held();
  const { Redis } = await import('ioredis');
  const client = new Redis(system.redis.url);
  client.on('message', (_channel, message) => heard.push(message));
  await client.subscribe(`${system.options.prefix}:turn:{${id}}`);
  go();
  await turns.result(id);
  await eventually(() => expect(heard.at(-1)).toBe('end'));
  expect(heard.slice(0, -1).filter((message) => !/^\d+$/.test(message))).toEqual([]);
  await client.quit();
});

it('one that ends while Redis is away for who waits', async () => {
  const { id, go } = await held();
  const waiting = web.result(id);
  await eventually(async () => expect(await subscribed(id)).toBe(1));
  redis.cut();
  try {
    go();
    expect(await waiting).toMatchObject({ id, status: 'completed', text: 'some text' });
    // And one who comes only then.
    expect(await web.result(id)).toMatchObject({ id, status: 'completed' });
  } finally {
    redis.restore();
  }
  await nobodyListens(id);
});

it('one that is cancelled while it waits, and one that is cancelled while it runs', async () => {
  const running = await held();
  const { conversationId: conversation } = (await turns.get(running.id)) as { conversationId: string };
  const { id } = await turns.enqueue({ conversation, text: 'behind' });
  const waiting = [web.result(id), web.result(running.id)];
  await eventually(async () => expect(await subscribed(id)).toBe(1));
  expect(await turns.cancel(id)).toBe('cancelled');
  expect(await waiting[0]).toMatchObject({ id, status: 'cancelled', text: '' });
  expect(await turns.cancel(running.id)).toBe('requested');
  expect(await waiting[1]).toMatchObject({ id: running.id, status: 'cancelled' });
  running.go();
});

it('an abort ends the waiting with its own error, leaves nothing behind, and the turn goes on', async () => {
  const { id, go } = await held();
  const leave = new AbortController();
  const waiting = web.result(id, { signal: leave.signal }).catch((error: unknown) => error);
  await eventually(async () => expect(await subscribed(id)).toBe(1));
  const reason = new Error('gone home');
  leave.abort(reason);
  expect(await waiting).toMatchObject({ code: 'call_aborted', disposition: 'cancelled', cause: reason });
  expect(getEventListeners(leave.signal, 'abort')).toEqual([]);
  await nobodyListens(id);
  const late = web.result(id, { signal: leave.signal });
  await expect(late).rejects.toMatchObject({ code: 'call_aborted' });
  const unused = new AbortController();
  go();
  expect(await web.result(id, { signal: unused.signal })).toMatchObject({ status: 'completed' });
  expect(getEventListeners(unused.signal, 'abort')).toEqual([]);
});

it('what does not exist, or is no id', async () => {
  await expect(turns.result('0'.repeat(24))).rejects.toMatchObject({ code: 'not_found', kind: 'turn' });
  await expect(turns.result('nothing')).rejects.toMatchObject({ code: 'invalid_input' });
  await expect(turns.result('0'.repeat(24), null as never)).rejects.toMatchObject({ code: 'invalid_input' });
  expect(worker.state).toBe('running');
});
