import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { messageOf } from '../../src/errors.ts';
import { delay } from '../../src/timing/clock.ts';
import { spawnEntry } from '../entry.ts';
import { refuseProduction } from './service.ts';
import type { Task } from './supervisor.ts';

export interface SupervisedOptions {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd: string;
  /** Directories that are removed when it ends. */
  readonly remove?: readonly string[];
  /** Rejects until the program answers; tried again until `bootMs` are over. */
  readonly probe: () => Promise<unknown>;
  readonly bootMs?: number;
  /** Told each line of its stdout. */
  readonly onLine?: (line: string) => void;
}

export interface Supervised {
  /** Asks the program to end, and its group with it. */
  stop(): Promise<void>;
  /** Ends the program as a crash would (SIGKILL); its directories stay. */
  kill(): Promise<void>;
}

const logBytes = 4_096;

/**
 * Starts a program under a supervisor that outlives a killed parent just long enough to end the program.
 * Resolves once the probe succeeds; throws with the program's last words when it ends before, or is too slow.
 */
export async function startSupervised(options: SupervisedOptions): Promise<Supervised> {
  refuseProduction();
  const { command, args, env = process.env, cwd, remove = [], probe, bootMs = 30_000 } = options;
  const supervisor = startSupervisor({ command, args, env, cwd, remove });
  const lastWords = tail(supervisor);
  if (options.onLine && supervisor.stdout)
    createInterface({ input: supervisor.stdout }).on('line', options.onLine);
  const ended = new AbortController();
  supervisor.once('exit', () => ended.abort());
  const gone = () => supervisor.exitCode !== null || supervisor.signalCode !== null;
  const stop = async () => {
    if (gone()) return;
    supervisor.stdin?.end();
    await once(supervisor, 'exit');
  };
  const kill = async () => {
    if (gone()) return;
    supervisor.kill('SIGUSR2');
    await once(supervisor, 'exit');
  };
  const limit = performance.now() + bootMs;
  for (;;) {
    try {
      await probe();
      return { stop, kill };
    } catch (error) {
      const late = performance.now() > limit;
      if (!ended.signal.aborted && !late) {
        await delay(50, undefined, ended.signal).catch(() => undefined);
        continue;
      }
      await stop();
      const why = late
        ? `did not answer within ${bootMs} ms (${messageOf(error)})`
        : 'ended while it started';
      throw new Error(`${command} ${why}: ${lastWords().trim() || 'it said nothing'}`, { cause: error });
    }
  }
}

/**
 * In a session of its own: Ctrl-C in a terminal reaches every process of the foreground, and the services would
 * be gone before those that use them. Ours end in the parent's order, or with the pipe that it holds.
 */
function startSupervisor(task: Task): ChildProcess {
  const supervisor = spawnEntry(import.meta.url, './supervisor', [], {
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: true,
  });
  // One that is gone already says so by its exit.
  supervisor.stdin?.on('error', () => undefined);
  supervisor.stdin?.write(`${JSON.stringify(task)}\n`);
  return supervisor;
}

/** Keeps the last output: what a program says before it gives up. Reading it also keeps its pipes empty. */
function tail({ stdout, stderr }: ChildProcess): () => string {
  let text = '';
  const keep = (chunk: Buffer) => {
    text = (text + chunk.toString()).slice(-logBytes);
  };
  stdout?.on('data', keep);
  stderr?.on('data', keep);
  return () => text;
}

/** A port of the loopback interface that was free a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() =>
        typeof address === 'object' && address ? resolve(address.port) : reject(new Error('no port')),
      );
    });
  });
}
