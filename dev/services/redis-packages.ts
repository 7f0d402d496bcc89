import { copyFile, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { cached } from './cache.ts';
import { onPath, run } from './run.ts';
import type { Progress } from './service.ts';

export interface RedisBinary {
  readonly command: string;
  readonly env: NodeJS.ProcessEnv;
}

/** Redis of this Debian or Ubuntu, and the libraries that the program lists and a bare system may lack. */
const packages = [
  'redis-server',
  'redis-tools',
  'libatomic1',
  'libjemalloc2',
  'liblzf1',
  'libssl3',
  'libssl3t64',
  'libsystemd0',
];

/** Folders of the multiarch layout, by Node's name of the architecture. */
const triplets: Partial<Record<NodeJS.Architecture, string>> = {
  x64: 'x86_64-linux-gnu',
  arm64: 'aarch64-linux-gnu',
};

/**
 * Fetches Redis by apt's own client and unpacks it into the cache: no root, and nothing of the system changes,
 * since lists, archives and state have folders of their own. Throws what apt says.
 */
export async function redisFromPackages(progress: Progress): Promise<RedisBinary> {
  for (const tool of ['apt-get', 'apt-cache', 'dpkg-deb']) {
    if (!(await onPath(tool))) throw new Error(`there is no ${tool} here`);
  }
  const place = await cached('redis', async (directory) => {
    progress("fetching redis-server from this system's package archive (once)");
    const apt = path.join(directory, 'apt');
    const archives = path.join(directory, 'archives');
    const options = await privateFolders(apt);
    await mkdir(archives);
    await run('apt-get', [...options, 'update'], { cwd: archives });
    await run('apt-get', [...options, 'download', ...(await known(options))], { cwd: archives });
    for (const file of await readdir(archives)) {
      await run('dpkg-deb', ['-x', path.join(archives, file), path.join(directory, 'root')]);
    }
    // With a library missing it would not even say this; what is cached must run.
    const { command, env } = unpacked(directory);
    await run(command, ['--version'], { env });
    await Promise.all([apt, archives].map((folder) => rm(folder, { recursive: true })));
  });
  return unpacked(place);
}

function unpacked(place: string): RedisBinary {
  const root = path.join(place, 'root');
  const triplet = triplets[process.arch] ?? '';
  const libraries = [`usr/lib/${triplet}`, `lib/${triplet}`, 'usr/lib'].map((folder) =>
    path.join(root, folder),
  );
  return {
    command: path.join(root, 'usr/bin/redis-server'),
    env: { ...process.env, LD_LIBRARY_PATH: libraries.join(':') },
  };
}

async function privateFolders(directory: string): Promise<string[]> {
  for (const folder of ['lists/partial', 'cache/archives/partial', 'state']) {
    await mkdir(path.join(directory, folder), { recursive: true });
  }
  const status = path.join(directory, 'state/status');
  await copyFile('/var/lib/dpkg/status', status).catch(() => writeFile(status, ''));
  const settings = {
    'Dir::State': path.join(directory, 'state'),
    'Dir::State::lists': path.join(directory, 'lists'),
    'Dir::State::status': status,
    'Dir::Cache': path.join(directory, 'cache'),
    // As root, apt would download as another user, who cannot write here.
    'APT::Sandbox::User': '',
    'Acquire::Languages': 'none',
  };
  return ['-q', ...Object.entries(settings).flatMap(([key, value]) => ['-o', `${key}=${value}`])];
}

async function known(options: readonly string[]): Promise<string[]> {
  const names = offeredPackages(await run('apt-cache', [...options, 'madison', ...packages]));
  if (names.includes('redis-server')) return names;
  throw new Error("redis-server is not in this system's package lists");
}

/** Those of our packages that a release has, of what `apt-cache madison` lists; libraries change their names. */
export function offeredPackages(listed: string): string[] {
  const names = new Set(listed.split('\n').map((line) => line.split('|')[0]?.trim()));
  return packages.filter((name) => names.has(name));
}
