/** Leaving while a service is frozen: it ends, says what it could not do, and keeps nothing alive. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from '@jest/globals';
import type { Turns } from '../../src/index.ts';
import { type Deferred, deferred } from '../support/deferred.ts';
import { eventually } from '../support/eventually.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { startTcpProxy, type TcpProxy, through } from '../support/tcp-proxy.ts';
import { newConversation } from '../support/turns.ts';

let system: TestSystem;
let redis: TcpProxy;
let mongo: TcpProxy;
/** Reaches all services directly. */
let other: Turns;
let gate: Deferred<undefined>;

beforeAll(async () => {
  system = await startSystem();
  redis = await startTcpProxy(system.options.redis);
  mongo = await startTcpProxy(/^mongodb:\/\/[^/]+/.exec(system.options.mongo)?.[0] ?? '');
  other = await system.connect();
}, 90_000);
afterAll(async () => {
  await system?.stop();
  await redis?.stop();
  await mongo?.stop();
});
beforeEach(() => {
  gate = deferred();
  system.respond(() => ({ text: ['one ', 'two'], gate: gate.promise, gateAt: 1 }));
});
afterEach(() => {
  gate.resolve(undefined);
  redis.restore();
  mongo.restore();
});

/** Short, so that a turn that could not be given back is soon somebody else's. */
const work = () => ({ policies: { default: system.policy }, lockMs: 2_000, stalledCheckMs: 1_000 });

/** By way of the proxies. */
const options = () => ({
  redis: through(redis, system.options.redis),
  mongo: through(mongo, system.options.mongo),
});

async function runningTurn(): Promise<string> {
  const { id } = await other.enqueue({ conversation: await newConversation(other), text: 'go' });
  await eventually(async () => expect(await other.get(id)).toMatchObject({ run: { phase: 'prompted' } }));
  return id;
}

const finished = async (id: string) => {
  const worker = await other.work(work());
  gate.resolve(undefined);
  expect(await other.result(id)).toMatchObject({ status: 'completed', text: 'one two' });
  await worker.stop();
};

it('a worker leaves a frozen Redis, says which turn it could not give back, and another one adopts that turn', async () => {
  const turns = await system.connect(options());
  const worker = await turns.work(work());
  const id = await runningTurn();
  system.reports.length = 0;
  redis.freeze();
  expect(await worker.stop(0)).toEqual({ handedBack: [] });
  expect(worker.state).toBe('stopped');
  await turns.close();
  const told = system.reports.map(({ context }) => context);
  expect(told).toContainEqual(expect.objectContaining({ action: 'turn.giveBack', turnId: id }));
  expect(told).toContainEqual(expect.objectContaining({ action: 'redis.subscriber.close' }));
  redis.restore();
  await eventually(() => expect(redis.connections).toBe(0));
  await finished(id);
}, 60_000);

it('a worker leaves a frozen MongoDB, and another one goes on with its turn', async () => {
  const turns = await system.connect(options());
  const worker = await turns.work(work());
  const id = await runningTurn();
  mongo.freeze();
  await worker.stop(0);
  await turns.close();
  mongo.restore();
  await finished(id);
}, 60_000);

it.each(['redis', 'mongo'] as const)(
  'every call is refused at once as soon as closing has begun, however long a frozen %s makes it',
  async (service) => {
    const turns = await system.connect(options());
    const { files } = turns;
    await turns.work(work());
    const id = await runningTurn();
    (service === 'redis' ? redis : mongo).freeze();
    let closed = false;
    const closing = turns.close().then(() => {
      closed = true;
    });
    const calls: Record<string, () => unknown> = {
      enqueue: () => turns.enqueue({ conversation: id, text: 'late' }),
      get: () => turns.get(id),
      follow: () => turns.follow(id),
      result: () => turns.result(id),
      cancel: () => turns.cancel(id),
      answer: () => turns.answer(id, 'que_1', { kind: 'reject' }),
      work: () => turns.work(work()),
      createIndexes: () => turns.createIndexes(),
      models: () => turns.models,
      connection: () => turns.connection,
      files: () => turns.files,
    };
    for (const [name, call] of Object.entries(calls)) {
      const error = await (async () => call())().catch((thrown) => thrown);
      expect([name, error]).toEqual([name, expect.objectContaining({ code: 'illegal_state' })]);
    }
    expect(closed).toBe(false);
    await closing;
    // What was taken out before cannot be told that it is closed; it does not wait for what never comes either.
    await expect(files.list(id)).rejects.toMatchObject({ code: 'service_unavailable' });
    redis.restore();
    mongo.restore();
    await finished(id);
  },
  60_000,
);

it('a worker that is still starting when its object is closed does not start', async () => {
  const turns = await system.connect(options());
  const working = turns.work(work()).catch((error) => error);
  const closed = turns.close();
  expect(await working).toMatchObject({ code: 'illegal_state' });
  await closed;
  await eventually(() => expect(redis.connections + mongo.connections).toBe(0));
}, 60_000);

it('a process that has closed while Redis is frozen ends by itself', async () => {
  const host = spawn(
    process.execPath,
    [fileURLToPath(new URL('../support/leaving-host.mjs', import.meta.url))],
    {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: {
        ...process.env,
        OPTIONS: JSON.stringify({ ...system.options, reporter: undefined, ...options() }),
        DIRECTORY: system.policy.directory(),
      },
    },
  );
  const lines = createInterface({ input: host.stdout })[Symbol.asyncIterator]();
  const ended = once(host, 'exit');
  try {
    expect((await lines.next()).value).toBe('ready');
    const id = await runningTurn();
    redis.freeze();
    host.stdin.write('leave\n');
    expect(JSON.parse(String((await lines.next()).value))).toEqual({ handedBack: [] });
    expect((await lines.next()).value).toBe('closed');
    // Redis answers nobody even now.
    expect(await ended).toEqual([0, null]);
    redis.restore();
    await finished(id);
  } finally {
    host.kill('SIGKILL');
  }
}, 60_000);
