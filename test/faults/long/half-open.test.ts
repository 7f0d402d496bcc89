import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { RunningWorker, StoredTurn, TurnEntry, Turns } from '../../../src/index.ts';
import { deferred } from '../../support/deferred.ts';
import { eventually } from '../../support/eventually.ts';
import { startSystem, type TestSystem } from '../../support/system.ts';
import { startTcpProxy, type TcpProxy, through } from '../../support/tcp-proxy.ts';
import { concatenated, newConversation } from '../../support/turns.ts';
import { expectWholeStory } from '../promises.ts';

const services = ['redis', 'mongo', 'opencode'] as const;
type Proxies = Record<(typeof services)[number], TcpProxy>;

let system: TestSystem;
let proxies: Proxies;
let turns: Turns;
let worker: RunningWorker;

beforeAll(async () => {
  system = await startSystem();
  const { options, opencode } = system;
  const [redis, mongo, server] = await Promise.all(
    [options.redis, options.mongo, opencode.url].map(startTcpProxy),
  );
  proxies = { redis, mongo, opencode: server } as Proxies;
  // Web app and worker in one: both have connections that nobody answers any more.
  turns = await system.connect({
    redis: through(proxies.redis, options.redis),
    mongo: through(proxies.mongo, options.mongo),
    opencode: { url: through(proxies.opencode, opencode.url), password: opencode.password ?? '' },
  });
  worker = await turns.work({ policies: { default: system.policy } });
}, 90_000);
afterAll(async () => {
  await system.stop();
  await Promise.all(Object.values(proxies).map((proxy) => proxy.stop()));
});

describe.each(services)('connections to %s that are open and dead', (service) => {
  it('are noticed, and replaced: the turn under way completes whole, with one model run', async () => {
    const gate = deferred();
    const before = system.model.turnRequests.length;
    system.respond(() => ({ text: ['one ', 'two ', 'three ', 'four'], gate: gate.promise, gateAt: 2 }));
    const { id } = await turns.enqueue({ conversation: await newConversation(turns), text: 'count' });
    const entries: TurnEntry[] = [];
    const followed = (async () => {
      for await (const entry of turns.follow(id)) entries.push(entry);
    })();
    await eventually(() => expect(concatenated(entries)).toBe('one two '), 20_000);
    proxies[service].forget();
    gate.resolve();
    await followed;
    const stored = (await turns.get(id)) as StoredTurn;
    expect(stored).toMatchObject({
      status: 'completed',
      text: 'one two three four',
      run: { epoch: 1, reruns: 0, resends: 0 },
    });
    expectWholeStory(entries, stored);
    expect(system.model.turnRequests.length - before).toBe(1);
  }, 180_000);
});

it('leaves no turn behind', async () => {
  await eventually(() => expect(worker.active).toBe(0));
});
