import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { spawnEntry } from '../../dev/entry.ts';
import { startMongo } from '../../dev/services/mongo.ts';
import { startRedis } from '../../dev/services/redis.ts';
import { connect, type Turns } from '../../src/index.ts';

/** What the worker process has used so far. */
export interface Usage {
  readonly cpuMs: number;
  readonly rssMiB: number;
  readonly heapMiB: number;
}

export interface Stage {
  readonly turns: Turns;
  usage(): Promise<Usage>;
  /** Tells the fake server to do something. */
  control(what: 'state' | 'finish'): Promise<{ readonly busy: number; readonly streams: number }>;
  /** Every live turn says so many words a second; answers how many were said in all. */
  stream(perSecond: number, ms: number): Promise<number>;
  stop(): Promise<void>;
}

/** As in the Procfile. Without a bound V8 collects the less the more memory the machine has, and its size says nothing. */
export const workerFlags = ['--max-old-space-size=512'];

const root = fileURLToPath(new URL('../../', import.meta.url));

/** The services, the fake server and one worker process, as the Procfile starts it, with room for so many turns. */
export async function startStage(concurrency: number): Promise<Stage> {
  const [redis, mongo] = await Promise.all([startRedis(console.error), startMongo()]);
  const sandboxRoot = mkdtempSync(path.join(tmpdir(), 'opencode-turns-bench-'));
  const fake = spawnEntry(import.meta.url, './fake-server', [], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const [{ url }] = (await once(fake, 'message')) as [{ url: string }];
  const prefix = `scale-${process.pid}`;
  const turns = await connect({ redis: redis.url, mongo: mongo.url, opencode: { url }, sandboxRoot, prefix });
  await turns.createIndexes();
  const worker = await startWorker({
    REDIS_URL: redis.url,
    MONGODB_URL: mongo.url,
    OPENCODE_URL: url,
    OPENCODE_TURNS_PREFIX: prefix,
    OPENCODE_TURNS_SANDBOX_ROOT: sandboxRoot,
    OPENCODE_TURNS_CONCURRENCY: String(concurrency),
  });
  const control = async (what: string, body: object = {}) => {
    const response = await fetch(`${url}/control/${what}`, { method: 'POST', body: JSON.stringify(body) });
    return (await response.json()) as never;
  };
  return {
    turns,
    usage: async () => {
      worker.send('usage');
      const [usage] = (await once(worker, 'message')) as [Usage];
      return usage;
    },
    control,
    stream: async (perSecond, ms) =>
      ((await control('stream', { perSecond, ms })) as { events: number }).events,
    stop: async () => {
      const exited = once(worker, 'exit');
      worker.kill('SIGTERM');
      await exited;
      await turns.close();
      fake.disconnect();
      await Promise.all([redis.stop(), mongo.stop()]);
      rmSync(sandboxRoot, { recursive: true, force: true });
    },
  };
}

async function startWorker(env: NodeJS.ProcessEnv): Promise<ChildProcess> {
  const preloads = ['./bench/scale/probe.mjs', './dist/workers/instrument.js'];
  const worker = spawn(
    process.execPath,
    [...workerFlags, ...preloads.flatMap((file) => ['--import', file]), 'dist/workers/turns.js'],
    { cwd: root, stdio: ['ignore', 'pipe', 'inherit', 'ipc'], env: { ...process.env, ...env } },
  );
  if (!worker.stdout) throw new Error('the worker has no output');
  const lines = createInterface({ input: worker.stdout });
  await Promise.race([
    once(lines, 'line'),
    once(worker, 'exit').then(([code]) => Promise.reject(new Error(`the worker ended with ${code}`))),
  ]);
  return worker;
}
