import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import type { StoredTurn, Turns } from '../../../src/index.ts';
import { eventually } from '../../support/eventually.ts';
import { startSystem, type TestSystem } from '../../support/system.ts';
import { newConversation } from '../../support/turns.ts';
import { startWorkerProcess, type WorkerProcess } from '../../support/worker-process.ts';
import { expectNothingLeft, followed, type LaneTurn } from '../lane-turn.ts';
import { Outages } from '../outages.ts';
import { expectSteps, expectWholeStory } from '../promises.ts';
import { print, writeResult } from '../result.ts';
import { seed, seeded, sizes } from '../sizes.ts';

const turnEveryMs = 2_000;
const conversationCount = 4;
let system: TestSystem;
let turns: Turns;
let outages: Outages;
let worker: WorkerProcess;
let redis: Redis;

beforeAll(async () => {
  system = await startSystem();
  outages = await Outages.start(system);
  // A session stays where it was minted: everybody knows the server by the same address.
  const server = { url: outages.urls.opencode, password: system.opencode.password ?? '' };
  turns = await system.connect({ opencode: server });
  redis = new Redis(system.options.redis);
  worker = await startWorkerProcess(system, {
    ...system.env,
    REDIS_URL: outages.urls.redis,
    MONGODB_URL: outages.urls.mongo,
    OPENCODE_URL: outages.urls.opencode,
    TEST_MAX_RERUNS: '5',
    OPENCODE_TURNS_LOCK_MS: '5000',
    OPENCODE_TURNS_STALLED_CHECK_MS: '2000',
    OPENCODE_TURNS_LOCK_LEASE_MS: '2000',
  });
}, 90_000);
afterAll(async () => {
  worker.kill('SIGKILL');
  await redis.quit();
  await outages.stop();
  await system.stop();
});

/** Resident memory of the worker in kB. Linux only, else 0. */
function residentKb(): number {
  if (process.platform !== 'linux') return 0;
  const status = readFileSync(`/proc/${worker.process.pid}/status`, 'latin1');
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0);
}

/** Outages with pauses between them until it is time. */
async function disturb(until: number): Promise<number> {
  const random = seeded(seed);
  let count = 0;
  while (performance.now() < until) {
    await new Promise((resolve) => setTimeout(resolve, 3_000 + random() * 12_000));
    const outage = outages.chosen(random);
    const { service, kind, forMs, reply } = outage;
    print(`soak: ${service} ${kind}${kind === 'errors' ? ` (${reply})` : ''} for ${forMs} ms`);
    await outages.happen(outage);
    count += 1;
  }
  return count;
}

async function load(until: number): Promise<LaneTurn[]> {
  const conversations = await Promise.all(
    Array.from({ length: conversationCount }, () => newConversation(turns)),
  );
  const started: LaneTurn[] = [];
  while (performance.now() < until) {
    const conversation = conversations[started.length % conversations.length] as string;
    const marker = `soak ${started.length}.`;
    const { id } = await turns.enqueue({ conversation, text: marker });
    started.push(followed(turns, id, marker, 300_000));
    await new Promise((resolve) => setTimeout(resolve, turnEveryMs));
  }
  return started;
}

/** What did not hold; a server that was killed may have lost runs, which are asked once more each. */
async function failureOf(turn: LaneTurn): Promise<string[]> {
  try {
    await turn.followed;
    const stored = (await turns.get(turn.id)) as StoredTurn;
    expect(stored).toMatchObject({ status: 'completed', text: `echo ${turn.marker} end` });
    expectSteps(system, turn.marker, 1, stored.run.reruns + stored.run.resends);
    expectWholeStory(turn.entries, stored);
    return [];
  } catch (error) {
    const stored = await turns.get(turn.id);
    const facts = JSON.stringify({ status: stored?.status, error: stored?.error, run: stored?.run });
    return [`${turn.marker} ${facts} ${error instanceof Error ? error.message : error}`];
  }
}

it('services that come and go under a low load break no promise, and neither memory nor reports grow', async () => {
  system.respond(({ userText, number }) => ({
    text: ['echo ', userText, ' end'],
    chunkDelayMs: (number % 7) * 150,
  }));
  const runMs = sizes.soakMinutes * 60_000;
  const until = performance.now() + runMs;
  let firstKb = 0;
  const first = setTimeout(
    () => {
      firstKb = residentKb();
    },
    Math.min(60_000, runMs / 2),
  );
  const [started, count] = await Promise.all([load(until), disturb(until)]);
  clearTimeout(first);
  // One after the other: a thousand reads at once are a load of their own, and no part of the promise.
  const failures: string[] = [];
  for (const turn of started) failures.push(...(await failureOf(turn)));
  const rssRatio = Math.round((100 * residentKb()) / firstKb) / 100;
  const last = (await turns.get(started.at(-1)?.id ?? '')) as StoredTurn;
  await expectNothingLeft({ system, turns, redis }, last).catch((error) => failures.push(String(error)));
  if (worker.process.exitCode !== null) failures.push(`the worker ended: ${worker.lines.slice(-5)}`);
  print(`soak: seed ${seed}, ${started.length} turns, ${count} outages, ${worker.lines.length} lines`);
  for (const failure of failures) print(`broken: ${failure}`);
  const result = {
    turns: started.length,
    broken: failures.length,
    rssRatio,
    reportLines: worker.lines.length,
  };
  writeResult(result);
  worker.kill('SIGTERM');
  await eventually(() => expect(worker.process.exitCode).toBe(0), 20_000);
  expect(failures).toEqual([]);
}, 7_200_000);
