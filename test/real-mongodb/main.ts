/**
 * `npm run test:mongodb [-- PATH…]`: the suites that a database can fail, over whatever MONGODB_URL names. What a known
 * engine is known not to do is left out by `known-gaps.json`, and told, with the reason, before and after.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { messageOf } from '../../src/errors.ts';
import { connectMongo } from '../../src/mongodb/connection.ts';
import { withDatabase } from '../support/database.ts';
import { gapsOf, type KnownGap, namePattern } from './known-gaps.ts';

const suites = ['test/contract', 'test/store', 'test/integration', 'test/faults'];

async function engineAt(url: string): Promise<{ name: string; version: string }> {
  const connection = await connectMongo(withDatabase(url, 'admin'));
  try {
    const info = await connection.getClient().db('admin').command({ buildInfo: 1 });
    const { version = '' } = (info.ferretdb ?? info) as { version?: string };
    return { name: info.ferretdb ? 'FerretDB' : 'MongoDB', version };
  } finally {
    await connection.close();
  }
}

async function main(paths: readonly string[]): Promise<number> {
  const url = process.env.MONGODB_URL;
  if (!url) {
    console.error('test:mongodb: MONGODB_URL is not set; it names the server that the suites run over');
    return 2;
  }
  const engine = await engineAt(url);
  const table = JSON.parse(
    readFileSync(new URL('./known-gaps.json', import.meta.url), 'utf8'),
  ) as readonly KnownGap[];
  const gaps = gapsOf(table, engine.name);
  const tell = () => {
    for (const { test, reason } of gaps) console.error(`test:mongodb: LEFT OUT "${test}": ${reason}`);
    console.error(`test:mongodb: over ${engine.name} ${engine.version}, ${gaps.length} tests left out`);
  };
  tell();
  const { status } = spawnSync(
    'npm',
    [
      'run',
      '-s',
      'jest',
      '--',
      '--runInBand',
      ...(gaps.length > 0 ? ['--testNamePattern', namePattern(gaps)] : []),
      ...(paths.length > 0 ? paths : [...suites, '--testPathIgnorePatterns', '/test/faults/long/']),
    ],
    { stdio: 'inherit', env: process.env },
  );
  tell();
  return status ?? 1;
}

main(process.argv.slice(2)).then(
  (status) => process.exit(status),
  (error: unknown) => {
    console.error(`test:mongodb: ${messageOf(error)}`);
    process.exit(1);
  },
);
