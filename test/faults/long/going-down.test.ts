import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { StoredTurn, TurnEntry, Turns } from '../../../src/index.ts';
import { deferred } from '../../support/deferred.ts';
import { eventually } from '../../support/eventually.ts';
import { startSystem, type TestSystem } from '../../support/system.ts';
import { startTcpProxy, type TcpProxy, through } from '../../support/tcp-proxy.ts';
import { concatenated, newConversation } from '../../support/turns.ts';
import { startWorkerProcess, type WorkerProcess } from '../../support/worker-process.ts';
import { expectWholeStory } from '../promises.ts';

let system: TestSystem;
let turns: Turns;
let redis: TcpProxy;
const workers: WorkerProcess[] = [];

beforeAll(async () => {
  system = await startSystem();
  redis = await startTcpProxy(system.options.redis);
  turns = await system.connect();
}, 90_000);
afterAll(async () => {
  for (const worker of workers) worker.kill('SIGKILL');
  await system.stop();
  await redis.stop();
});

/** With a lock so long that only a job that was given back can be adopted within a test. */
async function start(env: NodeJS.ProcessEnv = {}): Promise<WorkerProcess> {
  const worker = await startWorkerProcess(system, {
    OPENCODE_TURNS_LOCK_MS: '120000',
    ...system.env,
    ...env,
  });
  workers.push(worker);
  return worker;
}

async function heldTurn() {
  const gate = deferred();
  system.respond(() => ({ text: ['one ', 'two ', 'three ', 'four'], gate: gate.promise, gateAt: 2 }));
  const { id } = await turns.enqueue({ conversation: await newConversation(turns), text: 'count' });
  const entries: TurnEntry[] = [];
  const follow = async () => {
    for await (const entry of turns.follow(id)) entries.push(entry);
  };
  const followed = follow();
  followed.catch(() => undefined);
  await eventually(() => expect(concatenated(entries)).toBe('one two '));
  const stored = async () => (await turns.get(id)) as StoredTurn;
  const completed = async (epoch: number) => {
    gate.resolve();
    await followed;
    const last = await stored();
    expect(last).toMatchObject({ status: 'completed', text: 'one two three four', run: { epoch } });
    expectWholeStory(entries, last);
  };
  return { id, stored, completed };
}

const lastWords = ({ lines }: WorkerProcess) => JSON.parse(lines.at(-1) ?? '{}') as Record<string, unknown>;

describe('SIGTERM', () => {
  it('lets what runs end within the grace', async () => {
    const worker = await start({ OPENCODE_TURNS_SHUTDOWN_MS: '30000' });
    const turn = await heldTurn();
    worker.kill('SIGTERM');
    await turn.completed(1);
    expect(await worker.exited).toEqual([0, null]);
    expect(lastWords(worker)).toMatchObject({ stopped: true, handedBack: [] });
  });

  it('hands back what does not end, which another worker adopts at once and not when its lock is over', async () => {
    const leaving = await start({ OPENCODE_TURNS_SHUTDOWN_MS: '100' });
    const turn = await heldTurn();
    const other = await start();
    leaving.kill('SIGTERM');
    await eventually(async () => expect((await turn.stored()).run.epoch).toBe(2));
    expect(await leaving.exited).toEqual([0, null]);
    expect(lastWords(leaving)).toMatchObject({ handedBack: [turn.id] });
    await turn.completed(2);
    other.kill('SIGTERM');
    expect(await other.exited).toEqual([0, null]);
  });

  it('and a second signal ends the worker at once, with a code of its own', async () => {
    const worker = await start({ OPENCODE_TURNS_SHUTDOWN_MS: '30000' });
    const turn = await heldTurn();
    worker.kill('SIGTERM');
    worker.kill('SIGINT');
    expect(await worker.exited).toEqual([130, null]);
    expect((await turn.stored()).status).toBe('pending');
  });

  it('ends a worker in order although Redis is away', async () => {
    const worker = await start({ REDIS_URL: through(redis, system.options.redis) });
    redis.cut();
    await eventually(() => expect(worker.lines.join()).toContain('ECONNRESET'));
    worker.kill('SIGTERM');
    expect(await worker.exited).toEqual([0, null]);
    expect(worker.lines.some((line) => line.includes('"stopped":true'))).toBe(true);
  });
});
