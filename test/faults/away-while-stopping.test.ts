import { afterAll, beforeAll, expect, it } from '@jest/globals';
import type { StoredTurn, TurnEntry, Turns } from '../../src/index.ts';
import { serverAddress } from '../../src/opencode/address.ts';
import { deferred } from '../support/deferred.ts';
import { eventually } from '../support/eventually.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { concatenated, newConversation } from '../support/turns.ts';
import { startUpstreamProxy, type UpstreamProxy } from '../support/upstream-proxy.ts';

let system: TestSystem;
let proxy: UpstreamProxy;
let turns: Turns;

beforeAll(async () => {
  system = await startSystem();
  const { url, password = '' } = system.opencode;
  proxy = await startUpstreamProxy(url);
  turns = await system.connect({ opencode: { url: proxy.url, password } });
  await turns.work({ policies: { default: { ...system.policy, limits: { cancelTimeoutMs: 3_000 } } } });
}, 90_000);
afterAll(async () => {
  await system.stop();
  await proxy.stop();
});

it('a server that goes away while a lost run is stopped is waited for, and the run goes on', async () => {
  system.respond(() => ({ text: ['one ', 'two ', 'three'], gate: deferred().promise, gateAt: 2 }));
  const { id } = await turns.enqueue({ conversation: await newConversation(turns), text: 'go' });
  const entries: TurnEntry[] = [];
  const follow = async () => {
    for await (const entry of turns.follow(id)) entries.push(entry);
    return (await turns.get(id)) as StoredTurn;
  };
  const ended = follow();
  ended.catch(() => undefined);
  await eventually(() => expect(concatenated(entries)).toBe('one two '), 30_000);
  system.respond(() => ({ text: ['one ', 'two ', 'again'] }));
  // From the abort on, until what is read when the time for it is over.
  let [away, isOver] = [false, false];
  proxy.before(async ({ path }) => {
    away ||= path.endsWith('/abort');
    isOver ||= away && path.endsWith('/message');
    if (away) throw new Error('away');
  });
  const { url, password } = system.opencode;
  const { headers } = serverAddress(url, undefined, password);
  const directory = encodeURIComponent(system.policy.directory());
  const disposed = await fetch(`${url}/instance/dispose?directory=${directory}`, { method: 'POST', headers });
  expect(disposed.status).toBe(200);
  await eventually(() => expect(isOver).toBe(true), 30_000);
  proxy.before(() => undefined);
  const stored = await ended;
  expect(stored.error).toBeUndefined();
  expect(stored).toMatchObject({
    status: 'completed',
    text: 'one two again',
    run: { reruns: 1, resends: 0 },
  });
}, 120_000);
