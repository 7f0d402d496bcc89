import { once } from 'node:events';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { connectMongo } from '../../store/connection.ts';
import { spawnEntry } from '../entry.ts';
import { onPath } from './run.ts';
import { refuseProduction, type Service } from './service.ts';
import { freePort, startSupervised } from './supervised.ts';

/** MongoDB: what MONGODB_URL names, else a `mongod` from PATH, else the embedded document database. */
export async function startMongo(): Promise<Service> {
  const { MONGODB_URL } = process.env;
  if (MONGODB_URL)
    return {
      name: 'MongoDB',
      url: MONGODB_URL,
      description: 'as MONGODB_URL says',
      stop: async () => undefined,
    };
  const command = await onPath('mongod');
  return command ? startMongod(command) : startEmbedded();
}

async function startMongod(command: string): Promise<Service> {
  const port = await freePort();
  const directory = await mkdtemp(path.join(tmpdir(), 'opencode-turns-mongo-'));
  const url = `mongodb://127.0.0.1:${port}/opencode-turns`;
  const args = ['--dbpath', directory, '--port', String(port), '--bind_ip', '127.0.0.1', '--quiet'];
  const probe = async () => (await connectMongo(url, { timeoutMs: 500 })).close();
  const { stop } = await startSupervised({ command, args, cwd: directory, remove: [directory], probe });
  return { name: 'MongoDB', url, description: 'mongod (from PATH)', stop };
}

/** Ends with its parent by itself: its stdin is our pipe. */
async function startEmbedded(): Promise<Service> {
  refuseProduction();
  const child = spawnEntry(import.meta.url, '../document-db/main', [], {
    stdio: ['pipe', 'pipe', 'inherit'],
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
