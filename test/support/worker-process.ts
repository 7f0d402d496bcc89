import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { TestSystem } from './system.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));

export interface WorkerProcess {
  readonly process: ChildProcess;
  /** What it printed, line by line. */
  readonly lines: string[];
  /** Resolves with exit code and signal once it is gone. */
  readonly exited: Promise<[number | null, NodeJS.Signals | null]>;
  kill(signal: NodeJS.Signals): void;
}

/** A turn worker as the Procfile starts it, from the build; tuned so that a killed one is adopted within seconds. */
export async function startWorkerProcess(
  system: Pick<TestSystem, 'options' | 'sandboxRoot'> & {
    readonly opencode: Pick<TestSystem['opencode'], 'url' | 'password'>;
  },
  env: NodeJS.ProcessEnv = {},
): Promise<WorkerProcess> {
  const { options, opencode } = system;
  const child = spawn(
    process.execPath,
    ['--import', './dist/workers/instrument.js', 'dist/workers/turns.js'],
    {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...process.env,
        REDIS_URL: options.redis,
        MONGODB_URL: options.mongo,
        OPENCODE_URL: opencode.url,
        OPENCODE_SERVER_PASSWORD: opencode.password,
        OPENCODE_TURNS_PREFIX: options.prefix,
        OPENCODE_TURNS_SANDBOX_ROOT: system.sandboxRoot,
        OPENCODE_TURNS_MODEL: 'scripted/scripted',
        OPENCODE_TURNS_LOCK_MS: '2000',
        OPENCODE_TURNS_STALLED_CHECK_MS: '1000',
        ...env,
      },
    },
  );
  const lines: string[] = [];
  const exited = once(child, 'exit') as WorkerProcess['exited'];
  const output = createInterface({ input: child.stdout });
  createInterface({ input: child.stderr }).on('line', (line) => lines.push(line));
  const ready = new Promise<void>((resolve) => {
    output.on('line', (line) => {
      lines.push(line);
      if (line.includes('"ready":true')) resolve();
    });
  });
  await Promise.race([
    ready,
    exited.then(() => Promise.reject(new Error(`the worker ended: ${lines.join('\n')}`))),
  ]);
  return { process: child, lines, exited, kill: (signal) => void child.kill(signal) };
}
