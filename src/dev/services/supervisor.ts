/**
 * Runs a program for a parent that may die in any way: as long as our stdin, a pipe that the parent holds, is
 * open, the program runs; then it is ended, with everything it started, and its directory is removed.
 * Arguments: a JSON object { command, args, env, cwd, remove }.
 */
import { spawn } from 'node:child_process';
import { rmSync } from 'node:fs';

interface Task {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
  /** Directories to remove at the end. */
  readonly remove: readonly string[];
}

const graceMs = 3_000;
const task = JSON.parse(process.argv[2] ?? '{}') as Task;

// A group of its own: what the program starts ends with it.
const child = spawn(task.command, task.args, {
  cwd: task.cwd,
  env: task.env,
  stdio: ['ignore', 'inherit', 'inherit'],
  detached: true,
});

function signal(name: NodeJS.Signals): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, name);
  } catch {
    // The group is gone already.
  }
}

function end(): void {
  signal('SIGTERM');
  setTimeout(() => signal('SIGKILL'), graceMs).unref();
}

/** Asked to play a crash: no grace, and what the program stored stays for the next start. */
let crashed = false;
process.on('SIGUSR2', () => {
  crashed = true;
  signal('SIGKILL');
});

child.on('error', (error) => {
  console.error(error.message);
  process.exit(127);
});
child.on('exit', (code, by) => {
  signal('SIGKILL');
  for (const directory of crashed ? [] : task.remove)
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
  process.exit(code ?? (by === null ? 0 : 1));
});
process.stdin.on('end', end).on('error', end).resume();
for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(name, end);
