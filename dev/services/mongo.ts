import { once } from 'node:events';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { connectMongo } from '../../src/mongodb/connection.ts';
import { spawnEntry } from '../entry.ts';
import { onPath } from './run.ts';
import { namedService, refuseProduction, type Service } from './service.ts';
import { freePort, startSupervised } from './supervised.ts';

/** MongoDB: what MONGODB_URL names, else a `mongod` from PATH, else the embedded document database. */
export async function startMongo(): Promise<Service> {
  const { MONGODB_URL } = process.env;
  if (MONGODB_URL) return namedService('MongoDB', 'MONGODB_URL', MONGODB_URL, () => speak(MONGODB_URL));
  const command = await onPath('mongod');
  return command ? startMongod(command) : startEmbedded();
}

async function speak(url: string, timeoutMs?: number): Promise<void> {
  await (await connectMongo(url, timeoutMs === undefined ? {} : { timeoutMs })).close();
}

async function startMongod(command: string): Promise<Service> {
  const port = await freePort();
  const directory = await mkdtemp(path.join(tmpdir(), 'opencode-turns-mongo-'));
  const url = `mongodb://127.0.0.1:${port}/opencode-turns`;
  const args = ['--dbpath', directory, '--port', String(port), '--bind_ip', '127.0.0.1', '--quiet'];
  const probe = () => speak(url, 500);
  const { stop } = await startSupervised({ command, args, cwd: directory, remove: [directory], probe });
  return { name: 'MongoDB', url, description: 'mongod (from PATH)', stop };
}

/** Ends with its parent by itself: its stdin is our pipe. Out of reach of a terminal's Ctrl-C, like the others. */
async function startEmbedded(): Promise<Service> {
  refuseProduction();
  const child = spawnEntry(import.meta.url, '../document-db/main', [], {
    stdio: ['pipe', 'pipe', 'inherit'],
    detached: true,
  });
  if (!child.stdout) throw new Error('the embedded document database has no output');
  const [line] = (await Promise.race([
    once(createInterface({ input: child.stdout }), 'line'),
    once(child, 'exit').then(([code]) =>
      Promise.reject(new Error(`the embedded document database ended with ${code}`)),
    ),
  ])) as [string];
  const { url, product } = JSON.parse(line) as { url: string; product: string };
  return {
    name: 'MongoDB',
    url: `${url}/opencode-turns`,
    description: product,
    stop: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.stdin?.end();
      await once(child, 'exit');
    },
  };
}
