/** Turns of the real server under a worker whose database is killed in the middle of all of them. */
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import type { StoredTurn, TurnEntry, Turns } from '../../src/index.ts';
import { expectSteps, expectWholeStory } from '../faults/promises.ts';
import { deferred } from '../support/deferred.ts';
import { eventually } from '../support/eventually.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { newConversation } from '../support/turns.ts';
import { theEngine } from './engine.ts';

const count = 10;
const engine = theEngine();
let system: TestSystem;
let turns: Turns;

beforeAll(async () => {
  system = await startSystem();
  turns = await system.connect();
}, 120_000);
afterAll(() => system.stop());

it('ten of ten turns are whole, asked once each, over an engine that is killed twice', async () => {
  const middle = deferred<void>();
  const last = deferred<void>();
  system.respond(({ step, userText, kind }) => {
    const marker = /killed engine \d/.exec(userText)?.[0];
    if (kind === 'other' || !marker) return undefined;
    if (step > 0) return { text: ['Here ', 'it ', 'is.'], gate: last.promise, gateAt: 2 };
    const filePath = `${marker.replaceAll(' ', '-')}.txt`;
    const tools = [{ name: 'write', input: { filePath, content: marker } }];
    return { text: ['I ', 'write.'], tools, gate: middle.promise, gateAt: 1 };
  });
  await turns.work({ policies: { default: system.policy } });
  const markers = Array.from({ length: count }, (_, n) => `killed engine ${n}`);
  const followed = markers.map(async (text) => {
    const { id } = await turns.enqueue({ conversation: await newConversation(turns), text });
    const entries: TurnEntry[] = [];
    for await (const entry of turns.follow(id)) entries.push(entry);
    return { id, text, entries };
  });
  const asked = (step: number) => system.model.turnRequests.filter((request) => request.step === step).length;

  await eventually(() => expect(asked(0)).toBe(count), 120_000);
  await engine.crash();
  expect(await engine.runs()).toBe(false);
  middle.resolve();
  await eventually(() => expect(asked(1)).toBe(count), 120_000);
  await engine.up();
  await engine.crash();
  last.resolve();
  // Its end is written into a database that is away.
  await eventually(
    () => expect(system.model.turnRequests.filter(({ outcome }) => outcome)).toHaveLength(2 * count),
    60_000,
  );
  await engine.up();

  for (const { id, text, entries } of await Promise.all(followed)) {
    const stored = (await turns.get(id)) as StoredTurn;
    expect(stored).toMatchObject({
      status: 'completed',
      text: 'I write.\n\nHere it is.',
      run: { reruns: 0, resends: 0 },
    });
    expectSteps(system, text, 2);
    expectWholeStory(entries, stored);
  }
}, 400_000);
