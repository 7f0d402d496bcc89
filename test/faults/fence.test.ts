import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import type { RunningWorker, StoredTurn, TurnEntry, TurnPolicy, Turns } from '../../src/index.ts';
import { deferred } from '../support/deferred.ts';
import { eventually } from '../support/eventually.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { startTcpProxy, type TcpProxy, through } from '../support/tcp-proxy.ts';
import { concatenated, newConversation, runTurn } from '../support/turns.ts';
import { startUpstreamProxy, type UpstreamProxy } from '../support/upstream-proxy.ts';
import { startWorkerProcess, type WorkerProcess } from '../support/worker-process.ts';
import { expectWholeStory } from './promises.ts';

const lockMs = 2_000;
const turnTimeoutMs = 6_000;
const policy: TurnPolicy = { model: 'scripted/scripted' };
let system: TestSystem;
let proxy: UpstreamProxy;
let turns: Turns;
let redis: TcpProxy;
let mongo: TcpProxy;
let folder: string;
let warm: string;
const processes: WorkerProcess[] = [];

beforeAll(async () => {
  system = await startSystem();
  proxy = await startUpstreamProxy(system.opencode.url);
  redis = await startTcpProxy(system.options.redis);
  mongo = await startTcpProxy(system.options.mongo);
  folder = mkdtempSync(path.join(tmpdir(), 'opencode-turns-policies-'));
  const { password = '' } = system.opencode;
  turns = await system.connect({ opencode: { url: proxy.url, password } });
  // Its folder is loaded and its session there: what follows is quick.
  warm = await newConversation(turns);
  const first = await work();
  system.respond(() => ({ text: ['first'] }));
  await runTurn(turns, warm, 'first');
  await first.stop();
}, 90_000);
afterAll(async () => {
  for (const each of processes) each.kill('SIGKILL');
  await system.stop();
  await Promise.all([proxy.stop(), redis.stop(), mongo.stop()]);
  rmSync(folder, { recursive: true, force: true });
});

const work = (own: TurnPolicy = policy, ownLockMs = lockMs): Promise<RunningWorker> =>
  turns.work({ policies: { default: own }, lockMs: ownLockMs, stalledCheckMs: 500 });

async function workerProcess(own: TurnPolicy = policy, env: NodeJS.ProcessEnv = {}): Promise<WorkerProcess> {
  const file = path.join(folder, `policies-${processes.length}.mjs`);
  writeFileSync(file, `export default ${JSON.stringify({ default: own })};`);
  const worker = await startWorkerProcess(system, {
    OPENCODE_URL: proxy.url,
    OPENCODE_TURNS_POLICIES: file,
    OPENCODE_TURNS_LOCK_MS: String(lockMs),
    ...env,
  });
  processes.push(worker);
  return worker;
}

/** A turn whose model stops in the middle of its text until the gate opens. */
async function heldTurn() {
  const gate = deferred();
  const before = system.model.turnRequests.length;
  system.respond(() => ({ text: ['one ', 'two ', 'three ', 'four'], gate: gate.promise, gateAt: 2 }));
  const { id } = await turns.enqueue({ conversation: warm, text: 'count' });
  const entries: TurnEntry[] = [];
  const follow = async () => {
    for await (const entry of turns.follow(id)) entries.push(entry);
  };
  const followed = follow();
  // Whoever fails is told by its own line and no other.
  followed.catch(() => undefined);
  const stored = async () => (await turns.get(id)) as StoredTurn;
  return {
    gate,
    stored,
    streamed: () => eventually(() => expect(concatenated(entries)).toBe('one two '), 20_000),
    adopted: () => eventually(async () => expect((await stored()).run.epoch).toBe(2), 30_000),
    end: async () => {
      gate.resolve();
      await followed;
      const last = await stored();
      expect(last).toMatchObject({ status: 'completed', text: 'one two three four', run: { epoch: 2 } });
      expectWholeStory(entries, last);
      expect(system.model.turnRequests.length - before).toBe(1);
    },
  };
}

const changes = () => proxy.requests.filter(({ method }) => method !== 'GET');

/** Lets the frozen process go on, and waits until it has left in order. */
async function thaw(zombie: WorkerProcess): Promise<void> {
  zombie.kill('SIGCONT');
  zombie.kill('SIGTERM');
  expect(await zombie.exited).toEqual([0, null]);
}

it('a worker frozen past its lock and its time limit writes nothing and touches nothing upstream', async () => {
  const zombie = await workerProcess({ ...policy, limits: { turnTimeoutMs } });
  const turn = await heldTurn();
  await turn.streamed();
  zombie.kill('SIGSTOP');
  const frozenAt = Date.now();
  const heir = await work();
  await turn.adopted();
  const { startedAt = 0 } = (await turn.stored()).run;
  await eventually(() =>
    expect(Date.now()).toBeGreaterThan(Math.max(startedAt + turnTimeoutMs, frozenAt + 2 * lockMs)),
  );
  const before = { stored: await turn.stored(), changes: changes().length };
  await thaw(zombie);
  expect(await turn.stored()).toEqual(before.stored);
  expect(changes()).toHaveLength(before.changes);
  await turn.end();
  expect(changes()).toHaveLength(before.changes);
  await heir.stop();
}, 60_000);

it('a worker that froze before its prompt leaves the run of the next owner alone', async () => {
  // The question whether the session is idle, asked before every prompt to a session that was there before.
  const asked = deferred();
  const answer = deferred();
  const isQuestion = (route: string) => route === '/session/status';
  proxy.before(({ path: route }) => {
    if (!isQuestion(route)) return undefined;
    proxy.before(() => undefined);
    asked.resolve();
    return answer.promise;
  });
  const zombie = await workerProcess(policy, {
    REDIS_URL: through(redis, system.options.redis),
    MONGODB_URL: through(mongo, system.options.mongo),
  });
  const turn = await heldTurn();
  await asked.promise;
  await eventually(async () => expect((await turn.stored()).run.phase).toBe('prompting'));
  zombie.kill('SIGSTOP');
  const heir = await work();
  await turn.adopted();
  await turn.streamed();
  const before = changes().length;
  // The answer, "busy", lies in its socket when it wakes up.
  const answered = deferred();
  proxy.after(({ path: route }) => (isQuestion(route) ? void answered.resolve() : undefined));
  answer.resolve();
  await answered.promise;
  // Neither of those who would tell it at once is there.
  mongo.freeze();
  redis.cut();
  redis.restore();
  zombie.kill('SIGCONT');
  await eventually(() => expect(zombie.lines.join()).toContain('could not renew lock'));
  zombie.kill('SIGKILL');
  expect(changes()).toHaveLength(before);
  await turn.end();
  await heir.stop();
}, 60_000);

it('of two workers that carry the same job at once only the newer one is heard', async () => {
  const finished: string[] = [];
  const named = (name: string) => ({ ...policy, onTurnFinished: () => void finished.push(name) });
  // So long a lock that its renewal does not tell the older one.
  const older = await work(named('older'), 60_000);
  const turn = await heldTurn();
  await turn.streamed();
  older.quiet();
  const commands = new Redis(system.options.redis);
  expect(await commands.del(`${system.options.prefix}:turns:turn-${(await turn.stored()).id}:lock`)).toBe(1);
  await commands.quit();
  const newer = await work(named('newer'), 60_000);
  await turn.adopted();
  expect([older.active, newer.active]).toEqual([1, 1]);
  await turn.end();
  await eventually(() => expect([older.active, newer.active]).toEqual([0, 0]));
  expect(finished).toEqual(['newer']);
  await Promise.all([older.stop(), newer.stop()]);
}, 60_000);
