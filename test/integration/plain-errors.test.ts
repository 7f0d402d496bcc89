import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { startRedis } from '../../dev/services/redis.ts';
import type { Service } from '../../dev/services/service.ts';
import { configFromEnv, connect, InvalidConfigError } from '../../src/index.ts';
import { fingerprintOf } from '../../src/redis/policy-agreement.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const services = {
  REDIS_URL: 'redis://127.0.0.1:9',
  MONGODB_URL: 'mongodb://127.0.0.1:9/x',
  OPENCODE_URL: 'http://127.0.0.1:9',
};
/** Another version of Node, as far as a process can see. */
const old = `data:text/javascript,Object.defineProperty(process,'versions',{value:{...process.versions,node:'18.20.4'}})`;
/** A place that can't be written: tests may run as root, to whom no mode is one. */
const readOnly = `data:text/javascript,import fs from 'node:fs';fs.rmSync=()=>{throw Object.assign(new Error('EROFS: read-only file system'),{code:'EROFS'})}`;
let directory: string;
let redis: Service;

beforeAll(async () => {
  directory = mkdtempSync(path.join(tmpdir(), 'opencode-turns-plain-'));
  redis = await startRedis(() => undefined);
}, 90_000);
afterAll(async () => {
  rmSync(directory, { recursive: true, force: true });
  await redis.stop();
});

/** What a process says on stderr until it ends, and how it ends. */
async function run(args: readonly string[], env: NodeJS.ProcessEnv = {}, cwd = root) {
  const child = spawn(process.execPath, args, {
    cwd,
    env: { PATH: process.env.PATH, ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const [said, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')]);
  return { code: code as number | null, lines: said.trim().split('\n') };
}

const worker = (env: NodeJS.ProcessEnv, ...more: string[]) =>
  run(['--import', 'tsx', ...more, 'workers/turns.ts'], { ...services, ...env });

/** A module with that source. */
function module(source: string): string {
  const file = path.join(directory, 'policies.mjs');
  writeFileSync(file, source);
  return file;
}

it.each<[string, () => NodeJS.ProcessEnv, RegExp]>([
  [
    'policies without a default export',
    () => ({ OPENCODE_TURNS_POLICIES: module('export const policies = {}') }),
    /OPENCODE_TURNS_POLICIES: .*no table of policies.*export default/,
  ],
  [
    'policies that are not there',
    () => ({ OPENCODE_TURNS_POLICIES: path.join(directory, 'none.mjs') }),
    /OPENCODE_TURNS_POLICIES: .*cannot be loaded/,
  ],
  [
    'policies that throw',
    () => ({ OPENCODE_TURNS_POLICIES: module('throw new Error("oops")') }),
    /OPENCODE_TURNS_POLICIES: .*cannot be loaded: oops/,
  ],
  [
    'a misspelt variable',
    () => ({ OPENCODE_TURNS_CONCURENCY: '5' }),
    /OPENCODE_TURNS_CONCURENCY: .*did you mean "OPENCODE_TURNS_CONCURRENCY"/,
  ],
  [
    'a misspelt one of the library',
    () => ({ OPENCODE_TURNS_PREFX: 'x' }),
    /OPENCODE_TURNS_PREFX: .*did you mean "OPENCODE_TURNS_PREFIX"/,
  ],
  [
    'a port that is none',
    () => ({ OPENCODE_TURNS_HEALTH_PORT: '70000' }),
    /OPENCODE_TURNS_HEALTH_PORT: .*65,535.*70000/,
  ],
  ['no address', () => ({ REDIS_URL: '' }), /REDIS_URL: is not set/],
  ['a service that is away', () => ({}), /ServiceUnavailable|redis|mongodb/],
])(
  'a worker with %s ends in one line',
  async (_, env, line) => {
    const { code, lines } = await worker(env());
    expect(lines.filter((each) => !each.includes('warning in'))).toEqual([expect.stringMatching(line)]);
    expect(code).toBe(1);
  },
  30_000,
);

it.each(['x', '70000', '-1', '3e9'])(
  'a board whose port is none (%s) ends in one line that names it',
  async (OPENCODE_TURNS_BOARD_PORT) => {
    const env = {
      REDIS_URL: redis.url,
      OPENCODE_TURNS_BOARD_PORT,
      OPENCODE_TURNS_BOARD_PASSWORD: 'long enough',
    };
    const { code, lines } = await run(['--import', 'tsx', 'workers/board.ts'], env);
    expect(lines).toEqual([expect.stringMatching(/OPENCODE_TURNS_BOARD_PORT: must be a whole number/)]);
    expect(code).toBe(1);
  },
  30_000,
);

it('a board whose port is taken ends in one line', async () => {
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  const port = String((taken.address() as AddressInfo).port);
  const env = {
    REDIS_URL: redis.url,
    OPENCODE_TURNS_BOARD_PORT: port,
    OPENCODE_TURNS_BOARD_PASSWORD: 'long enough',
  };
  const { code, lines } = await run(['--import', 'tsx', 'workers/board.ts'], env);
  taken.close();
  expect(lines).toEqual([expect.stringMatching(/EADDRINUSE.*another process has this port; choose another/)]);
  expect(code).toBe(1);
}, 30_000);

it.each([
  ['a worker', ['--import', 'tsx', '--import', old, 'workers/turns.ts']],
  [
    'the preload',
    ['--import', 'tsx', '--import', old, '--import', './workers/instrument.ts', 'workers/turns.ts'],
  ],
  ['the build', ['--import', old, 'dev/begin-build.mjs']],
])(
  '%s on Node 18 ends in one line',
  async (_, args) => {
    const { code, lines } = await run(args);
    expect(lines).toEqual([expect.stringMatching(/needs Node\.js 20\.19 or newer; this is 18\.20\.4/)]);
    expect(code).toBe(1);
  },
  30_000,
);

it('a build where nothing can be written ends in one line', async () => {
  const script = path.join(root, 'dev/begin-build.mjs');
  const { code, lines } = await run(['--import', readOnly, script], {}, directory);
  expect(lines).toEqual([expect.stringMatching(/dist cannot be written \(EROFS\)\. Copy the project/)]);
  expect(code).toBe(1);
});

it('a cache that cannot be written is named, with the variable that moves it', async () => {
  const { cached } = await import('../../dev/services/cache.ts');
  const before = process.env.OPENCODE_TURNS_CACHE;
  process.env.OPENCODE_TURNS_CACHE = path.join(module('a file'), 'below');
  await expect(cached('x', async () => undefined)).rejects.toThrow(/cannot be written.*OPENCODE_TURNS_CACHE/);
  if (before === undefined) delete process.env.OPENCODE_TURNS_CACHE;
  else process.env.OPENCODE_TURNS_CACHE = before;
});

const address = {
  redis: 'redis://127.0.0.1:9',
  mongo: 'mongodb://127.0.0.1:9/x',
  opencode: { url: 'http://127.0.0.1:9' },
};

it.each<[string, unknown, string, RegExp]>([
  ['a misspelt key', { ...address, prefx: 'x' }, 'prefx', /did you mean "prefix"/],
  ['a server without a url', { ...address, opencode: { uri: 'x' } }, 'opencode.url', /must be a text/],
  [
    'a misspelt key of a server',
    { ...address, opencode: [{ url: 'http://a', pasword: 'x' }] },
    'opencode.0.pasword',
    /"password"/,
  ],
  ['no server', { ...address, opencode: [] }, 'opencode', /at least one server/],
  ['a relative sandbox', { ...address, sandboxRoot: 'box' }, 'sandboxRoot', /absolute/],
  ['a reporter that is none', { ...address, reporter: console.error }, 'reporter', /report/],
  ['a tracer that is none', { ...address, tracer: {} }, 'tracer', /span/],
  ['a time in words', { ...address, connectTimeoutMs: '5s' }, 'connectTimeoutMs', /number/],
  ['nothing', undefined, '', /object/],
])('connect refuses %s', async (_, options, setting, problem) => {
  const refused = await connect(options as never).catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(InvalidConfigError);
  expect(refused).toMatchObject({ setting, message: expect.stringMatching(problem) });
});

it('configFromEnv knows its own variables and leaves those of others alone', () => {
  expect(configFromEnv({ ...services, OPENCODE_TURNS_PREFIX: 'x', OPENCODE_PORT: '1' })).toMatchObject({
    prefix: 'x',
  });
});

it('two policies are the same when they say the same, in whatever order', () => {
  const rule = { permission: 'bash', pattern: '*', action: 'deny' as const };
  const same = [
    fingerprintOf({
      model: 'a/b',
      permissions: [rule],
      limits: { maxSteps: 1, maxCost: Number.POSITIVE_INFINITY },
    }),
    fingerprintOf({
      limits: { maxCost: Number.POSITIVE_INFINITY, maxSteps: 1 },
      permissions: [{ ...rule }],
      model: 'a/b',
    }),
  ];
  expect(new Set(same).size).toBe(1);
  const others = [
    fingerprintOf({ model: 'a/c' }),
    fingerprintOf({ system: () => 'a' }),
    fingerprintOf({ system: () => 'b' }),
    fingerprintOf({ limits: { maxSteps: 1 } }),
  ];
  expect(new Set([...same, ...others]).size).toBe(5);
});
