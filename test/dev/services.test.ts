import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, cpSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { startDocumentDb } from '../../dev/document-db/server.ts';
import { startScriptedModel } from '../../dev/scripted-model/server.ts';
import { cacheDirectory } from '../../dev/services/cache.ts';
import { startMongo } from '../../dev/services/mongo.ts';
import { type OpenCodeService, startOpenCode } from '../../dev/services/opencode.ts';
import { startRedis } from '../../dev/services/redis.ts';
import type { Service } from '../../dev/services/service.ts';
import { freePort, startSupervised } from '../../dev/services/supervised.ts';
import { InvalidConfigError } from '../../src/errors.ts';
import { connectMongo } from '../../src/mongodb/connection.ts';
import { eventually } from '../support/eventually.ts';
import { type Traces, traces } from '../support/left-behind.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const quiet = () => undefined;
let left: Traces;
let inherited: NodeJS.ProcessEnv;
let parent: ChildProcess | undefined;

beforeEach(() => {
  left = traces();
  inherited = { ...process.env };
  for (const name of ['REDIS_URL', 'MONGODB_URL', 'OPENCODE_URL', 'OPENCODE_SERVER_PASSWORD', 'OPENCODE_BIN'])
    delete process.env[name];
  process.env.TMPDIR = left.env.TMPDIR;
});
afterEach(() => {
  for (const name of Object.keys(process.env)) if (!(name in inherited)) delete process.env[name];
  Object.assign(process.env, inherited);
  parent?.kill('SIGKILL');
  left.remove();
});

async function using<T extends Service>(starting: Promise<T>, use: (service: T) => Promise<void>) {
  const service = await starting;
  try {
    await use(service);
  } finally {
    await service.stop();
  }
}

async function failure(promise: Promise<unknown>): Promise<InvalidConfigError> {
  const error = await promise.then(
    () => undefined,
    (problem: unknown) => problem,
  );
  if (error instanceof InvalidConfigError) return error;
  throw new Error(`expected an InvalidConfigError, not ${String(error)}`);
}

async function startParent(
  names: readonly string[],
  env: NodeJS.ProcessEnv = {},
  identity: { uid?: number; gid?: number } = {},
): Promise<{ child: ChildProcess; urls: Record<string, string> }> {
  const child = spawn(process.execPath, ['--import', 'tsx', 'test/support/service-parent.ts', ...names], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, ...left.env, ...env },
    ...identity,
  });
  parent = child;
  const [line] = (await Promise.race([
    once(createInterface({ input: child.stdout }), 'line'),
    once(child, 'exit').then(() => Promise.reject(new Error('the parent ended'))),
  ])) as [string];
  return { child, urls: JSON.parse(line) };
}

const listens = (url: string) =>
  new Promise<boolean>((resolve) => {
    const { hostname, port } = new URL(url);
    const socket = connect(Number(port), hostname)
      .on('connect', () => resolve(true))
      .on('error', () => resolve(false))
      .on('close', () => socket.destroy());
    socket.on('connect', () => socket.end());
  });

describe('a parent that is killed', () => {
  it('takes its services along: processes, ports and directories', async () => {
    const { child, urls } = await startParent(['redis', 'mongo', 'opencode']);
    for (const url of Object.values(urls)) expect(await listens(url)).toBe(true);
    expect(left.processes().length).toBeGreaterThanOrEqual(6);
    child.kill('SIGKILL');
    await once(child, 'exit');
    await left.gone();
    for (const url of Object.values(urls)) expect(await listens(url)).toBe(false);
  });
});

describe('Redis', () => {
  it('listens on loopback, keeps every key, sees delayed jobs in time, stores nothing', async () => {
    let directory = '';
    await using(startRedis(quiet), async ({ url }) => {
      expect(new URL(url).hostname).toBe('127.0.0.1');
      const redis = new Redis(url);
      const setting = async (name: string) => ((await redis.config('GET', name)) as string[])[1];
      expect(await setting('maxmemory-policy')).toBe('noeviction');
      expect(await setting('hz')).toBe('100');
      expect(await setting('bind')).toBe('127.0.0.1');
      expect([await setting('save'), await setting('appendonly')]).toEqual(['', 'no']);
      directory = String(await setting('dir'));
      expect(existsSync(directory)).toBe(true);
      redis.disconnect();
    });
    expect(existsSync(directory)).toBe(false);
    expect(left.processes()).toEqual([]);
  });

  it('stops once, however often it is asked', async () => {
    const { url, stop } = await startRedis(quiet);
    await Promise.all([stop(), stop()]);
    await stop();
    expect(await listens(url)).toBe(false);
  });

  it('names the choices when there is none and none to be had', async () => {
    process.env.PATH = left.env.TMPDIR;
    process.env.OPENCODE_TURNS_CACHE = path.join(left.env.TMPDIR, 'cache');
    const { setting, message } = await failure(startRedis(quiet));
    expect(setting).toBe('REDIS_URL');
    for (const choice of ['docker compose up -d redis', 'apt install', 'brew install redis', 'set REDIS_URL'])
      expect(message).toContain(choice);
    expect(message).toContain('there is no apt-get here');
  });

  it('runs for a user who is not root, from a cache of his own', async () => {
    const cache = path.join(left.env.TMPDIR, 'cache');
    const packages = path.join(cacheDirectory(), 'redis');
    if (existsSync(packages))
      cpSync(packages, path.join(cache, 'redis'), { recursive: true, verbatimSymlinks: true });
    const nobody = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};
    open(left.env.TMPDIR);
    const { child, urls } = await startParent(['redis'], { OPENCODE_TURNS_CACHE: cache }, nobody);
    const redis = new Redis(String(urls.redis));
    expect(await redis.ping()).toBe('PONG');
    redis.disconnect();
    child.kill('SIGKILL');
    await left.gone();
  });
});

/** Readable and writable for every user, with all that is in it. */
function open(directory: string): void {
  chmodSync(directory, 0o777);
  for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true })) {
    if (!entry.isSymbolicLink()) chmodSync(path.join(entry.parentPath, entry.name), 0o777);
  }
}

describe('MongoDB', () => {
  it('is the embedded database where there is no other, and says so', async () => {
    process.env.PATH = left.env.TMPDIR;
    await using(startMongo(), async ({ url, description }) => {
      expect(description).toContain('not MongoDB');
      const connection = await connectMongo(url);
      expect((await connection.db?.admin().buildInfo())?.modules).toEqual([
        expect.stringContaining('not MongoDB'),
      ]);
      await connection.close();
    });
    expect(left.processes()).toEqual([]);
  });
});

describe('OpenCode', () => {
  it('has a password, a home and data of its own, and keeps nothing when it stops', async () => {
    let own = '';
    await using(startOpenCode({ modelUrl: 'http://127.0.0.1:9', progress: quiet }), async (service) => {
      const { url, password, directory } = service as OpenCodeService;
      expect((await fetch(`${url}/config`)).status).toBe(401);
      const authorization = `Basic ${Buffer.from(`opencode:${password}`).toString('base64')}`;
      const places = await fetch(`${url}/path`, { headers: { authorization } }).then((answer) =>
        answer.json(),
      );
      for (const place of ['home', 'state', 'config']) {
        const known = (places as Record<string, string>)[place] ?? '';
        expect(known.startsWith(directory)).toBe(true);
      }
      // Nobody who lists processes sees what is secret.
      expect(left.processes()).toHaveLength(2);
      expect(left.processes().join('\n')).not.toContain(password);
      own = directory;
    });
    expect(existsSync(own)).toBe(false);
    expect(left.processes()).toEqual([]);
  });

  it.each(['/nonexistent/opencode', tmpdir()])('OPENCODE_BIN=%s is refused by name', async (program) => {
    process.env.OPENCODE_BIN = program;
    const error = await failure(startOpenCode());
    expect(error.message).toBe(`OPENCODE_BIN: there is no program ${program}`);
    expect(left.processes()).toEqual([]);
  });

  it('names the choices when it cannot be fetched', async () => {
    const directory = mkdtempSync(path.join(tmpdir(), 'opencode-turns-empty-'));
    process.env.PATH = directory;
    process.env.OPENCODE_TURNS_CACHE = path.join(directory, 'cache');
    const { setting, message } = await failure(startOpenCode());
    expect(setting).toBe('OPENCODE_BIN');
    expect(message).toMatch(/npm i -g opencode-ai.*OPENCODE_URL.*OPENCODE_BIN.*\(npm failed: .*ENOENT/);
    // No half-filled folder that the next start would take for the program.
    expect(readdirSync(path.join(directory, 'cache'))).toEqual([]);
    rmSync(directory, { recursive: true });
  });
});

describe('a service that the environment names', () => {
  const starters = {
    REDIS_URL: () => startRedis(quiet),
    MONGODB_URL: startMongo,
    OPENCODE_URL: startOpenCode,
  };

  const refused = async (variable: keyof typeof starters, url: string) => {
    process.env[variable] = url;
    const { setting, message } = await failure(starters[variable]());
    expect(setting).toBe(variable);
    return message;
  };

  it('and that nobody listens on: a clear error that names both', async () => {
    const port = await freePort();
    const messages = await Promise.all([
      refused('REDIS_URL', `redis://:secret@127.0.0.1:${port}`),
      refused('MONGODB_URL', `mongodb://127.0.0.1:${port}/db`),
      refused('OPENCODE_URL', `http://127.0.0.1:${port}`),
    ]);
    expect(messages).toEqual([
      expect.stringMatching(`^REDIS_URL: redis: cannot use redis://127.0.0.1:${port}: .*ECONNREFUSED`),
      expect.stringMatching(`^MONGODB_URL: mongodb: cannot use mongodb://127.0.0.1:${port}: .*ECONNREFUSED`),
      expect.stringMatching(`^OPENCODE_URL: http://127.0.0.1:${port}: .*cannot be reached`),
    ]);
    expect(left.processes()).toEqual([]);
  });

  it.each([
    ['REDIS_URL', /redis:\/\//],
    ['MONGODB_URL', /mongodb:\/\//],
    ['OPENCODE_URL', /http:\/\//],
  ] as const)('%s=localhost: says which form it takes', async (variable, form) => {
    expect(await refused(variable, 'localhost')).toMatch(form);
  });

  it('is used as it is, and goes on when everybody else stops', async () => {
    await using(startRedis(quiet), async ({ url }) => {
      process.env.REDIS_URL = url;
      await using(startRedis(quiet), async (named) => {
        expect(named).toMatchObject({ url, description: 'as REDIS_URL says' });
      });
      expect(await listens(url)).toBe(true);
    });
  });
});

describe('NODE_ENV=production', () => {
  it.each([
    ['Redis', () => startRedis(quiet)],
    ['MongoDB', () => startMongo()],
    ['OpenCode', () => startOpenCode()],
    ['the embedded document database', () => startDocumentDb()],
    ['the scripted model', () => startScriptedModel(() => undefined)],
  ])('%s is refused', async (_name, start) => {
    process.env.NODE_ENV = 'production';
    expect((await failure(start())).setting).toBe('NODE_ENV');
    expect(left.processes()).toEqual([]);
  });
});

describe('a program under a supervisor', () => {
  const script = (code: string, more: Partial<Parameters<typeof startSupervised>[0]> = {}) =>
    startSupervised({
      command: process.execPath,
      args: ['-e', code],
      cwd: left.env.TMPDIR,
      probe: () => Promise.reject(new Error('not yet')),
      ...more,
    });

  it('that ends while it starts is told by its last words', async () => {
    const directory = mkdtempSync(path.join(left.env.TMPDIR, 'opencode-turns-'));
    await expect(
      script('console.error("port is taken"); process.exit(3)', { remove: [directory] }),
    ).rejects.toThrow(/ended while it started: port is taken/);
    await expect(script('', { command: '/nonexistent', remove: [directory] })).rejects.toThrow(/ENOENT/);
    await left.gone();
  });

  it('that does not answer in time is ended', async () => {
    await expect(script('setInterval(() => {}, 1000)', { bootMs: 200 })).rejects.toThrow(
      /did not answer within 200 ms \(not yet\)/,
    );
    expect(left.processes()).toEqual([]);
  });

  it('ends with everything that it started, even what ignores SIGTERM', async () => {
    const stubborn = 'process.on("SIGTERM", () => {}); console.log("up"); setInterval(() => {}, 1000)';
    const lines: string[] = [];
    const { stop } = await script(
      `require("child_process").spawn(process.execPath, ["-e", ${JSON.stringify(stubborn)}], { stdio: "inherit" }); setInterval(() => {}, 1000)`,
      { onLine: (line) => lines.push(line), probe: async () => expect(lines).toEqual(['up']) },
    );
    const started = left.processes().length;
    await stop();
    expect(started).toBe(3);
    await eventually(() => expect(left.processes()).toEqual([]));
  });
});
