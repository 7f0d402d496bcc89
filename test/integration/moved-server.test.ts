import { afterAll, beforeAll, expect, it } from '@jest/globals';
import type { StoredTurn, Turns } from '../../src/index.ts';
import { type Deferred, deferred } from '../support/deferred.ts';
import { eventually } from '../support/eventually.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { startTcpProxy, type TcpProxy, through } from '../support/tcp-proxy.ts';
import { followAll, newConversation, runTurn } from '../support/turns.ts';

/** A deploy that knows the server under another address: `http://opencode` became `http://opencode.internal`. */
let system: TestSystem;
let oldWay: TcpProxy;
let before: Turns;
let after: Turns;

beforeAll(async () => {
  system = await startSystem();
  oldWay = await startTcpProxy(system.opencode.url);
  const { url, password = '' } = system.opencode;
  before = await system.connect({ opencode: { url: through(oldWay, url), password } });
  after = await system.connect({ opencode: { url, password } });
}, 90_000);
afterAll(async () => {
  await system.stop();
  await oldWay.stop();
});

const policies = () => ({ default: { ...system.policy, limits: { cancelTimeoutMs: 1_000 } } });

/** A turn that runs when its worker leaves, `fn` beside a worker of the deploy. */
async function adopted(fn: (turn: { id: string; conversation: string; gate: Deferred }) => Promise<void>) {
  const old = await before.work({ policies: policies() });
  const gate = deferred();
  system.respond(({ userText }) =>
    userText === 'held' ? { text: ['one ', 'two'], gate: gate.promise, gateAt: 1 } : { text: ['fine'] },
  );
  const conversation = await newConversation(before);
  const { id } = await before.enqueue({ conversation, text: 'held' });
  await eventually(async () => expect((await before.get(id))?.text).toBe('one '), 30_000);
  await old.stop(0);
  const worker = await after.work({ policies: policies() });
  try {
    await fn({ id, conversation, gate });
  } finally {
    gate.resolve();
    await worker.stop(0);
  }
}

it('a turn that runs on a server that is configured no more ends and says so, and the next one gets a new session', async () => {
  await adopted(async ({ id, conversation }) => {
    await followAll(after, id);
    const { run, ...turn } = (await after.get(id)) as StoredTurn;
    expect(turn).toMatchObject({ status: 'error', error: { reason: 'invalid_config', unconfirmed: true } });
    expect(run.openStops).toMatchObject([{ sessionId: run.sessionId, promptMessageId: run.promptMessageId }]);
    const from = system.reports.length;
    const { stored } = await runTurn(after, conversation, 'next');
    expect(stored).toMatchObject({ status: 'completed', text: 'fine', run: { server: system.opencode.url } });
    expect(stored.run.sessionId).not.toBe(run.sessionId);
    const told = system.reports.slice(from).filter(({ context }) => context.action === 'session.server_gone');
    expect(told).toMatchObject([
      { error: { code: 'invalid_config' }, context: { sessionId: run.sessionId } },
    ]);
    // Once: the one after it finds the new session.
    expect((await runTurn(after, conversation, 'third')).stored.run.sessionId).toBe(stored.run.sessionId);
  });
}, 120_000);

it('it can be cancelled, and the next turn runs', async () => {
  await adopted(async ({ id, conversation }) => {
    await after.cancel(id);
    const next = await after.enqueue({ conversation, text: 'next' });
    await followAll(after, id);
    expect(await after.get(id)).toMatchObject({
      status: 'cancelled',
      error: { reason: 'cancel_unconfirmed', unconfirmed: true },
      run: { openStops: [{}] },
    });
    await followAll(after, next.id);
    expect(await after.get(next.id)).toMatchObject({ status: 'completed', text: 'fine' });
  });
}, 120_000);
