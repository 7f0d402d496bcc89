import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import type { StoredTurn, Turns } from '../../../src/index.ts';
import { serverAddress } from '../../../src/opencode/address.ts';
import { openCodeClient } from '../../../src/opencode/v1/client.ts';
import { eventually } from '../../support/eventually.ts';
import { startSystem, type TestSystem } from '../../support/system.ts';
import { newConversation } from '../../support/turns.ts';
import { startWorkerProcess, type WorkerProcess } from '../../support/worker-process.ts';
import { expectIdleRedis, expectNoOrphan } from '../promises.ts';
import { seed, seeded, sizes } from '../sizes.ts';

const { storm } = sizes;
const killEveryMs = 2_000;
let system: TestSystem;
let turns: Turns;

beforeAll(async () => {
  system = await startSystem();
  turns = await system.connect();
}, 90_000);
afterAll(() => system.stop());

/** Keeps `count` workers running, kills one every two seconds, and puts a new one in its place. */
class Killing {
  readonly #random = seeded(seed);
  readonly #workers: WorkerProcess[] = [];
  #timer: NodeJS.Timeout | undefined;
  #replacing: Promise<void> = Promise.resolve();
  kills = 0;

  async start(count: number): Promise<void> {
    const started = Array.from({ length: count }, () => worker());
    this.#workers.push(...(await Promise.all(started)));
    this.#timer = setInterval(() => {
      this.#replacing = this.#replacing.then(() => this.#killOne());
    }, killEveryMs);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#replacing;
    for (const each of this.#workers) each.kill('SIGTERM');
    const exits = await Promise.all(this.#workers.map(({ exited }) => exited));
    expect(exits).toEqual(exits.map(() => [0, null]));
  }

  async #killOne(): Promise<void> {
    const [victim] = this.#workers.splice(Math.floor(this.#random() * this.#workers.length), 1);
    victim?.kill('SIGKILL');
    await victim?.exited;
    this.kills += 1;
    this.#workers.push(await worker());
  }
}

const worker = () =>
  startWorkerProcess(system, {
    ...system.env,
    OPENCODE_TURNS_LOCK_MS: '3000',
    OPENCODE_TURNS_STALLED_CHECK_MS: '1000',
    OPENCODE_TURNS_CONCURRENCY: '8',
    OPENCODE_TURNS_LOCK_LEASE_MS: '1000',
  });

async function enqueueAll(conversations: readonly string[]): Promise<string[]> {
  const random = seeded(seed);
  const ids: string[] = [];
  for (let number = 0; number < storm.turns; number += 1) {
    const conversation = conversations[Math.floor(random() * conversations.length)] as string;
    ids.push((await turns.enqueue({ conversation, text: `storm ${number}.` })).id);
  }
  return ids;
}

it('turns of many conversations under workers that are killed all the time: none lost, none doubled, order kept', async () => {
  system.respond(({ userText, number }) => ({
    text: ['echo ', userText, ' end'],
    chunkDelayMs: number % 7,
  }));
  const conversations = await Promise.all(
    Array.from({ length: storm.conversations }, () => newConversation(turns)),
  );
  const killing = new Killing();
  await killing.start(storm.workers);
  const ids = await enqueueAll(conversations);
  await eventually(async () => {
    const pending = await turns.models.Message.countDocuments({ status: 'pending' });
    expect(pending).toBe(0);
  }, 1_200_000);
  await killing.stop();
  const stored = (await Promise.all(ids.map((id) => turns.get(id)))) as StoredTurn[];
  writeFileSync(
    process.stderr.fd,
    `storm: seed ${seed}, ${stored.length} turns, ${storm.conversations} conversations, ${storm.workers} workers, ${killing.kills} killed, ${stored.filter(({ run }) => run.epoch > 1).length} turns adopted\n`,
  );
  expectEachOnce(stored);
  expectOrder(stored);
  expect(killing.kills).toBeGreaterThan(0);
  await expectNothingLeft(stored, conversations);
}, 1_500_000);

/** Terminal with the right words, and asked exactly once. */
function expectEachOnce(stored: readonly StoredTurn[]): void {
  const bad = stored.filter(
    ({ status, text, userText }) => status !== 'completed' || text !== `echo ${userText} end`,
  );
  expect(bad.map(({ id, status, text, error, run }) => ({ id, status, text, error, run }))).toEqual([]);
  const asked = new Map<string, number>();
  for (const { userText } of system.model.turnRequests) asked.set(userText, (asked.get(userText) ?? 0) + 1);
  expect(stored.filter(({ userText }) => asked.get(userText) !== 1).map(({ userText }) => userText)).toEqual(
    [],
  );
  expect(system.model.turnRequests).toHaveLength(storm.turns);
}

/** The model was asked in the order of each conversation's sequence. */
function expectOrder(stored: readonly StoredTurn[]): void {
  const position = new Map(system.model.turnRequests.map(({ userText, number }) => [userText, number]));
  const conversations = new Map<string, StoredTurn[]>();
  for (const turn of stored)
    conversations.set(turn.conversationId, [...(conversations.get(turn.conversationId) ?? []), turn]);
  for (const ofConversation of conversations.values()) {
    const bySequence = ofConversation
      .sort((a, b) => a.sequence - b.sequence)
      .map(({ userText }) => position.get(userText));
    expect(bySequence).toEqual([...bySequence].sort((a, b) => Number(a) - Number(b)));
  }
}

async function expectNothingLeft(
  stored: readonly StoredTurn[],
  conversations: readonly string[],
): Promise<void> {
  const { opencode, options } = system;
  const redis = new Redis(options.redis);
  await expectIdleRedis(redis, options.prefix ?? '');
  await redis.quit();
  const sweeping = await turns.work({
    policies: { default: {} },
    sweeper: { everyMs: 300, minAgeMs: 0 },
  });
  const client = openCodeClient({ address: serverAddress(opencode.url, undefined, opencode.password) });
  for (const conversation of conversations) {
    const last = stored.findLast(({ conversationId }) => conversationId === conversation);
    if (last) await expectNoOrphan(client, last);
  }
  await sweeping.stop();
}
