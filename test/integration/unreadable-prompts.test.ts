import { afterAll, beforeAll, expect, it } from '@jest/globals';
import type { RunningWorker, Turns } from '../../src/index.ts';
import { eventually } from '../support/eventually.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { followAll, newConversation } from '../support/turns.ts';
import { type EventWire, startUpstreamProxy, type UpstreamProxy } from '../support/upstream-proxy.ts';

/** The server answers 400 for its open permissions while one of them lacks an optional field, here a path (1.18.33). */
let system: TestSystem;
let proxy: UpstreamProxy;
let turns: Turns;
let worker: RunningWorker;
const wires: EventWire[] = [];

beforeAll(async () => {
  system = await startSystem();
  proxy = await startUpstreamProxy(system.opencode.url);
  turns = await system.connect({
    opencode: { url: proxy.url, password: system.opencode.password ?? '' },
  });
  const permissions = [{ permission: 'glob', pattern: '*', action: 'ask' as const }];
  worker = await turns.work({
    policies: { default: { ...system.policy, permissions, limits: { wrongAnswerTimeoutMs: 1_000 } } },
  });
  proxy.spoil(system.policy.directory(), (wire) => {
    wires.push(wire);
    return (frame) => wire.send(frame);
  });
}, 90_000);
afterAll(async () => {
  await worker?.stop(1_000);
  await system?.stop();
  await proxy?.stop();
});

it('a permission that the server cannot list waits for its answer all the same', async () => {
  const tools = [{ name: 'glob', input: { pattern: '*.none' } }];
  system.respond(({ step, userText }) => (userText === 'go' && step === 0 ? { tools } : { text: ['done'] }));
  const { id } = await turns.enqueue({ conversation: await newConversation(turns), text: 'go' });
  const { requestId } = await eventually(async () => {
    const prompt = (await turns.get(id))?.requests[0];
    if (!prompt) throw new Error('nothing is asked');
    return prompt;
  }, 45_000);
  const asked = () => proxy.requests.filter(({ path }) => path === '/permission').length;
  // Longer than what is borne of wrong answers: each new stream is followed by a look.
  const enough = performance.now() + 3_000;
  while (performance.now() < enough) {
    const before = asked();
    for (const wire of wires.splice(0)) wire.cut();
    await eventually(() => expect(asked()).toBeGreaterThan(before));
    await eventually(() => expect(wires.length).toBeGreaterThan(0));
  }
  expect((await turns.get(id))?.requests).toMatchObject([{ requestId, state: 'open' }]);
  expect(await turns.answer(id, requestId, { kind: 'permission', reply: 'once' })).toBe(true);
  await followAll(turns, id);
  expect(await turns.get(id)).toMatchObject({ status: 'completed', requests: [{ state: 'answered' }] });
});
