import { existsSync } from 'node:fs';
import path from 'node:path';
import { importsOf, projectFiles, root } from '../house/sources.ts';

/** What starts a process, opens a socket or talks to a service. */
const outside = new Set([
  ...['node:child_process', 'node:net', 'node:http', 'node:https', 'node:worker_threads', 'node:cluster'],
  ...['bullmq', 'ioredis', 'redlock', 'mongoose', 'undici', 'hono', '@hono/node-server'],
]);

/**
 * Test files that need no service and start nothing: those from which no import, however far, leads to one of the
 * modules above or to the development services. A new test of pure code is among them by itself, one that begins to
 * use a service leaves by itself. `no-services.mjs` refuses at run time what imports don't show.
 */
export function quickTests(): string[] {
  const reached = new Map<string, readonly string[]>();
  const next = (file: string) => {
    const known = reached.get(file) ?? [...namesOf(file)];
    reached.set(file, known);
    return known;
  };
  return projectFiles().filter((file) => /^test\/(?!house\/).*\.test\.ts$/.test(file) && isPure(file, next));
}

function isPure(start: string, next: (file: string) => readonly string[]): boolean {
  const seen = new Set([start]);
  for (const name of seen) {
    if (outside.has(name) || name.startsWith('dev/services/')) return false;
    for (const found of next(name)) seen.add(found);
  }
  return true;
}

function namesOf(file: string): string[] {
  if (!/\.m?[jt]s$/.test(file) || !existsSync(path.join(root, file))) return [];
  return importsOf(file).map(({ to }) => to);
}
