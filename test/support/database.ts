import type { ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { createInterface } from 'node:readline';
import type { Connection } from 'mongoose';
import { spawnEntry } from '../../dev/entry.ts';
import { connectMongo } from '../../src/mongodb/connection.ts';

export interface TestDatabase {
  /** With a database name of its own. */
  readonly url: string;
  readonly connection: Connection;
  stop(): Promise<void>;
}

/** A database for one test file: on what MONGODB_URL names, else on the embedded one in a process of its own. */
export async function startDatabase(): Promise<TestDatabase> {
  const external = process.env.MONGODB_URL;
  const child = external ? undefined : await startEmbedded();
  const url = withDatabase(external ?? child?.url ?? '', `test_${randomUUID().slice(0, 8)}`);
  const connection = await connectMongo(url);
  return {
    url,
    connection,
    async stop() {
      await connection.dropDatabase();
      await connection.close();
      child?.process.stdin?.end();
    },
  };
}

export async function startEmbedded(): Promise<{ url: string; process: ChildProcess }> {
  const child = spawnEntry(new URL('../../dev/entry.ts', import.meta.url).href, './document-db/main', [], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  if (!child.stdout) throw new Error('no stdout');
  for await (const line of createInterface({ input: child.stdout })) {
    return { url: (JSON.parse(line) as { url: string }).url, process: child };
  }
  throw new Error('the embedded document database did not start');
}

/** The same address with another database; its options stay. */
export function withDatabase(url: string, name: string): string {
  const [base = '', query] = url.split('?');
  const host = /^mongodb(\+srv)?:\/\/[^/]+/.exec(base)?.[0] ?? base;
  return `${host}/${name}${query ? `?${query}` : ''}`;
}
