/** What has passed of a turn's limits has passed for its next owner, too. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import mongoose from 'mongoose';
import type { RunningWorker, StoredTurn, TurnPolicy, Turns } from '../../src/index.ts';
import { deferred } from '../support/deferred.ts';
import { eventually } from '../support/eventually.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { newConversation } from '../support/turns.ts';
import { startUpstreamProxy, type UpstreamProxy } from '../support/upstream-proxy.ts';

const hour = 3_600_000;
let system: TestSystem;
let proxy: UpstreamProxy;
let turns: Turns;
/** While true, nothing reaches the server. */
let away = false;
/** While true, no session is made. */
let minting: Promise<unknown> | undefined;
/** While true, the server shows nothing of a run. */
let nothingRuns = false;

beforeAll(async () => {
  system = await startSystem();
  const { url, password = '' } = system.opencode;
  proxy = await startUpstreamProxy(url);
  proxy.before(async ({ method, path }) => {
    if (away) throw new Error('away');
    if (method === 'POST' && path === '/session') await minting;
    if (nothingRuns && path === '/event') throw new Error('no stream');
  });
  proxy.rewrite(({ path }) => {
    if (!nothingRuns) return undefined;
    if (path === '/session/status') return () => ({});
    if (!path.endsWith('/message')) return undefined;
    return (body) => (body as { info: { role: string } }[]).filter(({ info }) => info.role === 'user');
  });
  turns = await system.connect({ opencode: { url: proxy.url, password } });
}, 90_000);
beforeEach(() => {
  away = false;
  minting = undefined;
  nothingRuns = false;
  system.respond(() => ({ text: ['the ', 'answer'] }));
});
afterAll(async () => {
  await system.stop();
  await proxy.stop();
});

const stored = async (id: string) => (await turns.get(id)) as StoredTurn;

/** A worker of a process of its own. */
async function owner(policy: Partial<TurnPolicy> = {}, name = 'default'): Promise<RunningWorker> {
  const { password = '' } = system.opencode;
  const app = await system.connect({ opencode: { url: proxy.url, password } });
  return app.work({ policies: { [name]: { ...system.policy, ...policy } } });
}

/** `run` as the database has it. */
async function runOf(id: string): Promise<Record<string, unknown>> {
  const message = await turns.models.Message.collection.findOne({ _id: new mongoose.Types.ObjectId(id) });
  return (message as { run?: Record<string, unknown> } | null)?.run ?? {};
}

const change = (id: string, update: Record<string, unknown>) =>
  turns.models.Message.collection.updateOne({ _id: new mongoose.Types.ObjectId(id) }, update);

/** Takes so much from a stored time, as if the owners before had needed it. */
async function earlier(id: string, field: string, ms: number): Promise<void> {
  const time = (await runOf(id))[field] as number | Date;
  const moved = time instanceof Date ? new Date(time.getTime() - ms) : time - ms;
  await change(id, { $set: { [`run.${field}`]: moved } });
}

async function enqueued(policy = 'default') {
  const conversation = await newConversation(turns);
  return (await turns.enqueue({ conversation, text: 'go', policy })).id;
}

describe('a turn whose first owner has gone', () => {
  it('before anything was stored of it has no new time limit', async () => {
    const gate = deferred();
    minting = gate.promise;
    const first = await owner();
    const id = await enqueued();
    await eventually(async () => expect((await stored(id)).run.epoch).toBe(1));
    const { startedAt } = (await stored(id)).run;
    await first.stop(0);
    gate.resolve();
    await earlier(id, 'firstClaimedAt', hour);
    const second = await owner();
    await eventually(async () =>
      expect(await stored(id)).toMatchObject({
        status: 'error',
        error: { reason: 'deadline_turn_timeout_ms' },
        run: { epoch: 2 },
      }),
    );
    expect((await stored(id)).durationMs).toBeGreaterThanOrEqual(hour);
    expect((await stored(id)).run.startedAt).toBe((startedAt as number) - hour);
    await second.stop(0);
  }, 60_000);

  it('while the server was away: the next one goes on with that time, and takes it away when it is back', async () => {
    const first = await owner();
    const id = await enqueued();
    away = true;
    const { awaySince } = await eventually(async () => {
      const { run } = await stored(id);
      expect(run.awaySince).toBeGreaterThan(0);
      return run;
    });
    await first.stop(0);
    const second = await owner();
    await eventually(async () => expect((await stored(id)).run.epoch).toBe(2));
    expect((await stored(id)).run.awaySince).toBe(awaySince);
    away = false;
    await eventually(async () => expect((await stored(id)).status).toBe('completed'), 30_000);
    expect((await stored(id)).run).not.toHaveProperty('awaySince');
    await second.stop(0);
  }, 60_000);

  it('while the prompt waited for its first sign: the next one does not wait for the whole time again', async () => {
    // Neither lost nor begun for all that the server says.
    const limits = { firstEventTimeoutMs: 10 * 60_000, lostAfterMs: 10 * 60_000, cancelTimeoutMs: 1_000 };
    nothingRuns = true;
    const first = await owner({ limits });
    const id = await enqueued();
    await eventually(async () => expect((await stored(id)).run.phase).toBe('prompted'), 30_000);
    await first.stop(0);
    await earlier(id, 'promptedAt', hour);
    const second = await owner({ limits });
    await eventually(async () => expect((await stored(id)).run.resends).toBe(1), 60_000);
    nothingRuns = false;
    await eventually(async () => expect((await stored(id)).status).toBe('completed'), 30_000);
    await second.stop(0);
  }, 120_000);

  it('stored by an older version has the time since it is claimed', async () => {
    const gate = deferred();
    minting = gate.promise;
    const first = await owner();
    const id = await enqueued();
    await eventually(async () => expect((await stored(id)).run.epoch).toBe(1));
    await first.stop(0);
    gate.resolve();
    await change(id, { $unset: { 'run.firstClaimedAt': 1 } });
    const second = await owner();
    await eventually(async () => expect((await stored(id)).status).toBe('completed'), 30_000);
    const { startedAt = 0, claimedAt } = (await stored(id)).run;
    expect(startedAt).toBe(claimedAt);
    await second.stop(0);
  }, 60_000);
});

describe('a turn whose policy no worker knows', () => {
  it('has waited for the next worker, too', async () => {
    const first = await owner({}, 'other');
    const id = await enqueued('nobody knows');
    await eventually(async () => expect((await runOf(id)).policySoughtSince).toBeInstanceOf(Date));
    await first.stop(0);
    await earlier(id, 'policySoughtSince', hour);
    const second = await owner({}, 'other');
    await eventually(
      async () =>
        expect(await stored(id)).toMatchObject({
          status: 'error',
          error: { reason: 'deadline_unknown_policy_ms' },
          run: { epoch: 1 },
        }),
      30_000,
    );
    await second.stop(0);
  }, 60_000);
});
