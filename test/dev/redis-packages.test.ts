import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { offeredPackages, redisFromPackages } from '../../dev/services/redis-packages.ts';

/** apt's tools, played by scripts that write down how they are called. */
const apt = {
  'apt-get': `echo "apt-get $*" >> "$LOG"
case "$*" in
  *update*) [ -z "$OFFLINE" ] || { echo "E: Could not resolve 'deb.debian.org'" >&2; exit 100; } ;;
  *download*) shift $(($# - $(echo "$*" | sed 's/.*download //' | wc -w))); for name in "$@"; do echo "$name" > "$name.deb"; done ;;
esac`,
  'apt-cache': `echo "apt-cache $*" >> "$LOG"; cat "$MADISON"`,
  'dpkg-deb': `mkdir -p "$3/usr/bin"; printf '%s\\n' "\${BINARY:-#!/bin/sh}" > "$3/usr/bin/$(cat "$2")"; chmod 755 "$3/usr/bin/"*`,
};
const bookworm = `redis-server | 5:7.0.15-1~deb12u6 | http://deb.debian.org/debian bookworm/main amd64 Packages
redis-tools | 5:7.0.15-1~deb12u6 | http://deb.debian.org/debian bookworm/main amd64 Packages
  libssl3 | 3.0.17-1~deb12u3 | http://deb.debian.org/debian-security bookworm-security/main amd64 Packages
  libssl3 | 3.0.15-1~deb12u1 | http://deb.debian.org/debian bookworm/main amd64 Packages
`;

let directory: string;
let inherited: NodeJS.ProcessEnv;
const place = (name: string) => path.join(directory, name);
const calls = () => (existsSync(place('log')) ? readFileSync(place('log'), 'utf8').trim().split('\n') : []);
const fetchRedis = () => redisFromPackages(() => undefined);

beforeEach(() => {
  inherited = { ...process.env };
  directory = mkdtempSync(path.join(tmpdir(), 'opencode-turns-apt-'));
  mkdirSync(place('bin'));
  for (const [name, script] of Object.entries(apt)) {
    writeFileSync(place(`bin/${name}`), `#!/bin/sh\n${script}\n`);
    chmodSync(place(`bin/${name}`), 0o755);
  }
  writeFileSync(place('madison'), bookworm);
  process.env.PATH = `${place('bin')}:/usr/bin:/bin`;
  process.env.OPENCODE_TURNS_CACHE = place('cache');
  process.env.LOG = place('log');
  process.env.MADISON = place('madison');
});
afterEach(() => {
  for (const name of Object.keys(process.env)) if (!(name in inherited)) delete process.env[name];
  Object.assign(process.env, inherited);
  rmSync(directory, { recursive: true });
});

it('fetches what this release has, unpacks it into the cache, and never asks apt again', async () => {
  const told: string[] = [];
  const { command, env } = await redisFromPackages((message) => told.push(message));
  expect(command).toBe(place('cache/redis/root/usr/bin/redis-server'));
  expect(env.LD_LIBRARY_PATH?.split(':')).toContain(place('cache/redis/root/usr/lib'));
  expect(told).toHaveLength(1);
  const download = calls().at(-1) ?? '';
  expect(download.split(' download ')[1]).toBe('redis-server redis-tools libssl3');
  // Archives and lists are needed once; the cache holds nothing but what was unpacked.
  expect(readdirSync(place('cache/redis'))).toEqual(['root']);
  const before = calls().length;
  expect(await fetchRedis()).toEqual({ command, env });
  expect(calls()).toHaveLength(before);
});

it('gives apt folders of its own for all that it writes, and no other user to become', async () => {
  await fetchRedis();
  expect(calls()).toHaveLength(3);
  for (const call of calls()) {
    const settings = Object.fromEntries(
      [...call.matchAll(/-o (\S+?)=(\S*)/g)].map(([, name, value]) => [name, value]),
    );
    expect(Object.keys(settings)).toEqual(
      expect.arrayContaining(['Dir::State', 'Dir::State::lists', 'Dir::State::status', 'Dir::Cache']),
    );
    for (const [name, value] of Object.entries(settings))
      if (name.startsWith('Dir::')) expect(value).toMatch(place('cache/'));
    expect(settings['APT::Sandbox::User']).toBe('');
  }
});

it('two processes that fetch at once both end with the whole thing', async () => {
  const [first, second] = await Promise.all([fetchRedis(), fetchRedis()]);
  expect(second).toEqual(first);
  expect(readdirSync(place('cache'))).toEqual(['redis']);
});

it.each([
  [
    'apt cannot reach its archive',
    { OFFLINE: '1' },
    /apt-get failed: E: Could not resolve 'deb\.debian\.org'/,
  ],
  [
    'the archive has no Redis',
    { MADISON: '/dev/null' },
    /redis-server is not in this system's package lists/,
  ],
  [
    'the program does not run here',
    { BINARY: '#!/bin/sh\necho "error while loading shared libraries: libfoo.so" >&2; exit 127' },
    /redis-server failed: error while loading shared libraries: libfoo\.so/,
  ],
])('when %s: says it, and leaves nothing that the next start would trust', async (_case, env, problem) => {
  Object.assign(process.env, env);
  await expect(fetchRedis()).rejects.toThrow(problem);
  expect(readdirSync(place('cache'))).toEqual([]);
});

it('takes of the package list the names it knows, each once', () => {
  expect(offeredPackages(bookworm)).toEqual(['redis-server', 'redis-tools', 'libssl3']);
  expect(offeredPackages('N: Unable to locate package libssl3t64\n')).toEqual([]);
});
