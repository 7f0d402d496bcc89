import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from '@jest/globals';
import { eventually } from './eventually.ts';

export interface Traces {
  /** For the process under test: everything that it starts inherits the name of its temporary directory. */
  readonly env: { readonly TMPDIR: string };
  /** Those that still run, with their command lines; not the compiler of the tests. Linux only, else empty. */
  processes(): string[];
  /** Waits until there is no process and no file. */
  gone(withinMs?: number): Promise<void>;
  remove(): void;
}

/** Finds what a process and all its descendants leave behind: processes, ports with them, and temporary files. */
export function traces(): Traces {
  const directory = mkdtempSync(path.join(tmpdir(), 'opencode-turns-test-'));
  const mark = `TMPDIR=${directory}`;
  const processes = () =>
    pids()
      .filter((pid) => environment(pid).includes(mark) || folderOf(pid).startsWith(directory))
      .map(commandOf)
      .filter((command) => !command.includes('/esbuild '));
  return {
    env: { TMPDIR: directory },
    processes,
    gone: (withinMs = 10_000) =>
      eventually(() => {
        expect(processes()).toEqual([]);
        expect(ownDirectories(directory)).toEqual([]);
      }, withinMs),
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}

/** Loaders keep compiled code in the temporary directory; only what is named after this project counts. */
const ownDirectories = (directory: string) =>
  readdirSync(directory).filter((name) => name.startsWith('opencode-turns'));

const pids = () =>
  process.platform === 'linux' ? readdirSync('/proc').filter((name) => /^\d+$/.test(name)) : [];

const read = (file: string) => {
  try {
    return readFileSync(file, 'utf8').split('\0');
  } catch {
    // It ended meanwhile, or belongs to somebody else.
    return [];
  }
};
/** Redis writes its title over its environment; its folder tells then. */
const folderOf = (pid: string) => {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return '';
  }
};
const environment = (pid: string) => read(`/proc/${pid}/environ`);
const commandOf = (pid: string) => `${pid} ${read(`/proc/${pid}/cmdline`).join(' ').slice(0, 200)}`;
