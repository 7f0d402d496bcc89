import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { RunningWorker, StoredTurn, TurnEntry, Turns } from '../../../src/index.ts';
import { deferred } from '../../support/deferred.ts';
import { eventually } from '../../support/eventually.ts';
import { startSystem, type TestSystem } from '../../support/system.ts';
import { startTcpProxy, type TcpProxy, through } from '../../support/tcp-proxy.ts';
import { concatenated, newConversation } from '../../support/turns.ts';
import { sizes } from '../sizes.ts';

let system: TestSystem;
/** The web app's own connections stay whole: only the worker loses its services. */
let web: Turns;
let worker: RunningWorker;
const proxies: Record<'redis' | 'mongo' | 'opencode', TcpProxy | undefined> = {
  redis: undefined,
  mongo: undefined,
  opencode: undefined,
};

beforeAll(async () => {
  system = await startSystem();
  web = await system.connect();
  const { options, opencode } = system;
  const [redis, mongo, server] = await Promise.all(
    [options.redis, options.mongo, opencode.url].map(startTcpProxy),
  );
  if (!redis || !mongo || !server) throw new Error('no proxies');
  Object.assign(proxies, { redis, mongo, opencode: server });
  const turns = await system.connect({
    redis: through(redis, options.redis),
    mongo: through(mongo, options.mongo),
    opencode: {
      url: through(server, opencode.url),
      ...(opencode.password ? { password: opencode.password } : {}),
    },
  });
  worker = await turns.work({
    policies: { default: system.policy },
    lockMs: 3_000,
    stalledCheckMs: 1_000,
  });
}, 90_000);
afterAll(async () => {
  for (const proxy of Object.values(proxies)) proxy?.restore();
  await system.stop();
  await Promise.all(Object.values(proxies).map((proxy) => proxy?.stop()));
});

async function heldTurn() {
  const gate = deferred();
  const before = system.model.turnRequests.length;
  system.respond(() => ({ text: ['one ', 'two ', 'three ', 'four'], gate: gate.promise, gateAt: 2 }));
  const { id } = await web.enqueue({ conversation: await newConversation(web), text: 'count' });
  const entries: TurnEntry[] = [];
  const followed = (async () => {
    for await (const entry of web.follow(id)) entries.push(entry);
  })();
  await eventually(() => expect(concatenated(entries)).toBe('one two '));
  return { id, gate, entries, followed, requests: () => system.model.turnRequests.length - before };
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

const absences = (['redis', 'mongo', 'opencode'] as const).flatMap((service) =>
  sizes.awayMs.map((awayMs) => [service, awayMs] as const),
);

describe.each(absences)('%s away from the worker for %d ms in the middle of a turn', (service, awayMs) => {
  it.each(['before', 'while'] as const)(
    'and back: the turn completes whole, with one model run (model ends %s it is back)',
    async (when) => {
      const turn = await heldTurn();
      proxies[service]?.cut();
      if (when === 'while') turn.gate.resolve();
      await pause(awayMs);
      proxies[service]?.restore();
      turn.gate.resolve();
      await turn.followed;
      const stored = (await web.get(turn.id)) as StoredTurn;
      expect(stored).toMatchObject({
        status: 'completed',
        text: 'one two three four',
        run: { reruns: 0, resends: 0 },
      });
      expect(concatenated(turn.entries)).toBe('one two three four');
      expect(turn.entries.filter(({ type }) => type === 'finished')).toHaveLength(1);
      expect(turn.requests()).toBe(1);
    },
    awayMs + 60_000,
  );
});

it('OpenCode away when a turn starts only delays it', async () => {
  proxies.opencode?.cut();
  system.respond(() => ({ text: ['late'] }));
  const { id } = await web.enqueue({ conversation: await newConversation(web), text: 'x' });
  await eventually(async () => expect((await web.get(id))?.run.epoch).toBe(1));
  await pause(500);
  proxies.opencode?.restore();
  await eventually(
    async () => expect(await web.get(id)).toMatchObject({ status: 'completed', text: 'late' }),
    20_000,
  );
});

describe.each(['redis', 'mongo'] as const)('%s away when a turn is enqueued', (service) => {
  it('is told by its name, and nothing is half done: no message, no job; afterwards all is well', async () => {
    const { options } = system;
    const { redis, mongo } = proxies as Record<string, TcpProxy>;
    const app = await system.connect({
      redis: through(redis as TcpProxy, options.redis),
      mongo: through(mongo as TcpProxy, options.mongo),
      connectTimeoutMs: 1_000,
    });
    const [conversation, other] = [await newConversation(web), await newConversation(web)];
    system.respond(() => ({ text: ['back'] }));
    proxies[service]?.cut();
    const turn = { conversation, text: 'x' };
    const error = { code: 'service_unavailable', service: service === 'redis' ? 'redis' : 'mongodb' };
    // In the moment before the cut is noticed a turn is still taken: it is stored, and the sweeper gives it a job.
    await eventually(async () => {
      const taken = await app.enqueue({ ...turn, conversation: other }).catch(() => undefined);
      if (taken) await web.cancel(taken.id);
      expect(taken).toBeUndefined();
    });
    await expect(app.enqueue(turn)).rejects.toMatchObject(error);
    expect(await web.models.Message.countDocuments({ conversation })).toBe(0);
    proxies[service]?.restore();
    const { id } = await eventually(() => app.enqueue(turn));
    await eventually(
      async () => expect(await web.get(id)).toMatchObject({ status: 'completed', text: 'back' }),
      30_000,
    );
    expect(await web.models.Message.countDocuments({ conversation })).toBe(2);
    await app.close();
  });
});

it('leaves no turn behind', async () => {
  await eventually(() => expect(worker.active).toBe(0));
});
