import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import type { StoredTurn, Turns } from '../../../src/index.ts';
import { deferred } from '../../support/deferred.ts';
import { eventually } from '../../support/eventually.ts';
import { shiftedClock } from '../../support/shifted-clock.ts';
import { startSystem, type TestSystem } from '../../support/system.ts';
import { newConversation } from '../../support/turns.ts';
import { startWorkerProcess, type WorkerProcess } from '../../support/worker-process.ts';

const hourMs = 3_600_000;
let system: TestSystem;
let turns: Turns;
let folder: string;
let behind: WorkerProcess;
let ahead: WorkerProcess;

beforeAll(async () => {
  system = await startSystem();
  turns = await system.connect();
  folder = mkdtempSync(path.join(tmpdir(), 'opencode-turns-policies-'));
}, 90_000);
afterAll(async () => {
  for (const worker of [behind, ahead]) worker?.kill('SIGKILL');
  await system.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** A worker process whose clock is wrong, under limits that a wrong clock would cross. */
function start(byMs: number): Promise<WorkerProcess> {
  const limits = { turnTimeoutMs: hourMs / 2, inputTimeoutMs: hourMs / 2, maxUpstreamRetryDelayMs: 60_000 };
  const permissions = [{ permission: 'bash', pattern: '*', action: 'ask' }];
  const file = path.join(folder, 'policies.mjs');
  const policies = { default: { model: 'scripted/scripted', limits, permissions } };
  writeFileSync(file, `export default ${JSON.stringify(policies)};`);
  return startWorkerProcess(system, { ...shiftedClock(byMs), OPENCODE_TURNS_POLICIES: file });
}

const stored = async (id: string) => (await turns.get(id)) as StoredTurn;
const enqueue = async (text: string, conversation?: string) =>
  (await turns.enqueue({ conversation: conversation ?? (await newConversation(turns)), text })).id;

it('workers whose clocks are two hours apart share turns: none lost, none doubled, each conversation in order', async () => {
  [behind, ahead] = await Promise.all([start(-hourMs), start(hourMs)]);
  system.respond(({ userText }) => ({ text: ['echo ', userText], chunkDelayMs: 20 }));
  const conversations = await Promise.all([newConversation(turns), newConversation(turns)]);
  const ids: string[] = [];
  for (let number = 0; number < 10; number += 1) {
    for (const conversation of conversations) {
      ids.push(await enqueue(`${conversation} ${number}.`, conversation));
    }
  }
  await eventually(async () => {
    const all = await Promise.all(ids.map(stored));
    expect(all.map(({ status }) => status)).toEqual(ids.map(() => 'completed'));
  }, 60_000);
  const all = await Promise.all(ids.map(stored));
  expect(all.map(({ text }) => text)).toEqual(all.map(({ userText }) => `echo ${userText}`));
  expect(new Set(all.map(({ run }) => run.owner?.split(':')[1])).size).toBe(2);
  for (const conversation of conversations) {
    const asked = system.model.turnRequests.filter(({ userText }) => userText.startsWith(conversation));
    expect(asked.map(({ userText }) => userText)).toEqual(
      Array.from({ length: 10 }, (_, number) => `${conversation} ${number}.`),
    );
  }
}, 90_000);

it('a turn goes over to a worker whose clock is two hours ahead: no limit is crossed, no question expires', async () => {
  ahead.kill('SIGTERM');
  await ahead.exited;
  const gate = deferred();
  const bash = [{ name: 'bash', input: { command: 'echo x', description: 'x' } }];
  system.respond(({ userText, step, number }) => {
    if (userText === 'retry' && number === retried) return { error: { status: 500 } };
    if (userText === 'ask' && step === 0) return { tools: bash };
    return { text: ['one ', 'two'], ...(userText === 'long' ? { gate: gate.promise, gateAt: 1 } : {}) };
  });
  const retried = system.model.requests.length;
  // The wait that upstream announces ends an hour ahead of what this worker takes for now.
  const retry = await enqueue('retry');
  await eventually(async () => expect(await stored(retry)).toMatchObject({ status: 'completed' }), 30_000);
  const [long, ask] = [await enqueue('long'), await enqueue('ask')];
  await eventually(() => expect(system.model.turnRequests.at(-1)?.userText).toBe('ask'));
  await eventually(async () => expect((await stored(ask)).requests).toHaveLength(1));
  await eventually(async () => expect((await stored(long)).run.phase).toBe('prompted'));
  ahead = await start(hourMs);
  behind.kill('SIGKILL');
  await eventually(async () => {
    expect([(await stored(long)).run.epoch, (await stored(ask)).run.epoch]).toEqual([2, 2]);
  }, 30_000);
  gate.resolve();
  await eventually(async () => expect((await stored(long)).status).not.toBe('pending'));
  expect(await stored(long)).toMatchObject({ status: 'completed', text: 'one two' });
  const [prompt] = (await stored(ask)).requests;
  expect(prompt).toMatchObject({ state: 'open' });
  await turns.answer(ask, prompt?.requestId ?? '', { kind: 'permission', reply: 'once' });
  await eventually(async () => expect((await stored(ask)).status).not.toBe('pending'));
  expect(await stored(ask)).toMatchObject({ status: 'completed', text: 'one two' });
  const { durationMs = Number.NaN } = await stored(long);
  expect(durationMs).toBeLessThan(hourMs / 4);
}, 90_000);
