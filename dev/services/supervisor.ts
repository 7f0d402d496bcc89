/**
 * Runs a program for a parent that may die in any way: as long as our stdin, a pipe that the parent holds, is
 * open, the program runs; then it is ended, with everything it started, and its directories are removed.
 * The first line of stdin is the task, as JSON: it holds passwords, which an argument would show to everybody.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { createInterface } from 'node:readline';

export interface Task {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
  /** Directories to remove at the end. */
  readonly remove: readonly string[];
}

const graceMs = 3_000;
let child: ChildProcess | undefined;

function start(task: Task): void {
  // A group of its own: what the program starts ends with it.
  child = spawn(task.command, task.args, {
    cwd: task.cwd,
    env: task.env,
    stdio: ['ignore', 'inherit', 'inherit'],
    detached: true,
  });
  child.on('error', (error) => {
    console.error(error.message);
    leave(task, 127);
  });
  child.on('exit', (code, by) => {
    signal('SIGKILL');
    leave(task, code ?? (by === null ? 0 : 1));
  });
}

/** Asked to play a crash: no grace, and what the program stored stays for the next start. */
let crashed = false;

function leave(task: Task, code: number): void {
  for (const directory of crashed ? [] : task.remove)
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
  process.exit(code);
}

function signal(name: NodeJS.Signals): void {
  try {
    if (child?.pid !== undefined) process.kill(-child.pid, name);
  } catch {
    // The group is gone already.
  }
}

function end(): void {
  signal('SIGTERM');
  setTimeout(() => signal('SIGKILL'), graceMs).unref();
}

process.on('SIGUSR2', () => {
  crashed = true;
  signal('SIGKILL');
});
process.on('SIGTERM', end);
createInterface({ input: process.stdin })
  .once('line', (line) => start(JSON.parse(line) as Task))
  .once('close', end);
