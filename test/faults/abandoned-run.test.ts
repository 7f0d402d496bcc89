import { afterAll, beforeAll, expect, it } from '@jest/globals';
import type { Turns } from '../../src/index.ts';
import { deferred } from '../support/deferred.ts';
import { eventually } from '../support/eventually.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { followAll, newConversation } from '../support/turns.ts';
import { startUpstreamProxy, type UpstreamProxy } from '../support/upstream-proxy.ts';
import { startWorkerProcess } from '../support/worker-process.ts';

let system: TestSystem;
let proxy: UpstreamProxy;
let turns: Turns;

beforeAll(async () => {
  system = await startSystem();
  const { url, password = '' } = system.opencode;
  proxy = await startUpstreamProxy(url);
  turns = await system.connect({ opencode: { url: proxy.url, password } });
}, 90_000);
afterAll(async () => {
  await system.stop();
  await proxy.stop();
});

it('a process that dies between the end of a turn whose conversation is gone and the abort of its run leaves that to the sweeper', async () => {
  // The first owner leaves a run behind.
  system.respond(() => ({ text: ['some ', 'text'], ending: 'hang' }));
  const policies = { default: system.policy };
  const first = await turns.work({ policies });
  const conversation = await newConversation(turns);
  const { id } = await turns.enqueue({ conversation, text: 'go' });
  for await (const entry of turns.follow(id)) if (entry.type === 'part' || entry.type === 'text') break;
  await first.stop(0);
  await turns.models.Conversation.deleteOne({ _id: conversation });

  // The second one ends the turn, and dies when it is about to abort the run.
  const aborting = deferred();
  const dead = deferred();
  proxy.before(async ({ method, path }) => {
    if (method !== 'POST' || !path.endsWith('/abort')) return;
    aborting.resolve();
    await dead.promise;
    throw new Error('its sender is dead');
  });
  const { options, sandboxRoot, opencode, env } = system;
  const reached = { options, sandboxRoot, opencode: { ...opencode, url: proxy.url } };
  const second = await startWorkerProcess(reached, env);
  await aborting.promise;
  second.kill('SIGKILL');
  await second.exited;
  proxy.before(() => undefined);
  dead.resolve();
  const [asked] = system.model.requests.slice(-1);
  expect(asked?.outcome).toBeUndefined();
  expect(await turns.get(id)).toMatchObject({ status: 'error', error: { reason: 'conversation_gone' } });

  // A third one sweeps.
  const { url, password = '' } = { ...system.opencode, url: proxy.url };
  const app = await system.connect({ opencode: { url, password } });
  await app.work({ policies, lockMs: 2_000, stalledCheckMs: 1_000, sweeper: { everyMs: 500, minAgeMs: 0 } });
  await eventually(() => expect(asked?.outcome).toBe('aborted'), 30_000);
  await eventually(async () => expect((await turns.get(id))?.run).not.toHaveProperty('openStops'), 30_000);
  expect((await followAll(turns, id)).view.end).toMatchObject({ error: { reason: 'conversation_gone' } });
  expect(system.model.requests.at(-1)).toBe(asked);
}, 120_000);
