import { afterAll, beforeAll, expect, it } from '@jest/globals';
import type { Redis } from 'ioredis';
import { startRedis } from '../../dev/services/redis.ts';
import type { Service } from '../../dev/services/service.ts';
import { BullTurnJobs } from '../../src/bullmq/turn-jobs.ts';
import type { ReportContext } from '../../src/index.ts';
import { createBoard } from '../../src/operate/board.ts';
import { openRedis } from '../../src/redis/connection.ts';

const quiet = { report: () => undefined };
const reports: { error: unknown; context: ReportContext }[] = [];
const reporter = { report: (error: unknown, context: ReportContext) => reports.push({ error, context }) };
const secret = 'correct horse';
const basic = (password: string, user = 'admin') =>
  `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;

let service: Service;
let redis: Redis;
let jobs: BullTurnJobs;
let board: Awaited<ReturnType<typeof createBoard>>;

beforeAll(async () => {
  service = await startRedis(() => undefined);
  redis = await openRedis(service.url, 'commands', quiet);
  jobs = new BullTurnJobs(redis, 'test-board', quiet);
  board = await open({ perAddress: 3 });
}, 60_000);
afterAll(async () => {
  await board.close();
  await jobs.close();
  await redis.quit();
  await service.stop();
});

const open = (guesses: { perAddress?: number; inAll?: number; windowMs?: number }) =>
  createBoard({ queue: jobs.queue, user: 'admin', password: secret, reporter, guesses });

const get = (path = '', password = secret, init: RequestInit = {}) =>
  fetch(`${board.url}${path}`, { ...init, headers: { authorization: basic(password), ...init.headers } });

it('tells browsers to run nothing foreign, to frame it nowhere and to keep nothing', async () => {
  const page = await get();
  expect(page.status).toBe(200);
  const policy = page.headers.get('content-security-policy') ?? '';
  expect(policy).toMatch(/default-src 'none'/);
  expect(policy).toMatch(/script-src 'self'(;|$)/);
  expect(policy).toMatch(/frame-ancestors 'none'/);
  expect(Object.fromEntries(page.headers)).toMatchObject({
    'x-frame-options': 'DENY',
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'cache-control': 'no-store',
  });
  const refused = await fetch(board.url);
  expect(refused.status).toBe(401);
  expect(refused.headers.get('cache-control')).toBe('no-store');
});

it('asks nobody else for anything, and its own files are there', async () => {
  const page = await (await get()).text();
  expect(page).not.toMatch(/(?:src|href)="(?:https?:)?\/\//);
  const files = [...page.matchAll(/(?:src|href)="(static\/[^"]+\.(?:js|css))"/g)].map(([, file]) => file);
  expect(files.length).toBeGreaterThan(3);
  for (const file of files) {
    const answer = await get(`/${file}`);
    expect(answer.status).toBe(200);
    expect(await answer.text()).not.toMatch(/@import|url\(["']?https?:/);
  }
});

it('changes nothing, whoever asks', async () => {
  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE'])
    expect((await get('/api/queues/turns/pause', secret, { method })).status).toBe(405);
});

it.each([
  '/static/../../../package.json',
  '/static/..%2f..%2f..%2fpackage.json',
  '/static/%2e%2e/%2e%2e/index.ejs',
])('serves nothing outside of its folder: %s', async (path) => {
  const answer = await get(path);
  expect(await answer.text()).not.toMatch(/"dependencies"|<%/);
});

it('hears no more passwords of an address that has guessed too often, the right one neither, and tells of each', async () => {
  reports.length = 0;
  for (const guess of ['a', 'b', 'c']) expect((await get('', guess)).status).toBe(401);
  const refused = await get('', 'd');
  expect(refused.status).toBe(429);
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
  expect((await get()).status).toBe(429);
  expect(reports.map(({ context }) => context)).toEqual(
    [1, 2, 3].map((count) => ({ action: 'board.sign-in', severity: 'warning', address: '127.0.0.1', count })),
  );
  expect(JSON.stringify(reports)).not.toContain(secret);
});

it('counts no request without credentials as a guess', async () => {
  const other = await open({ perAddress: 1 });
  for (let visit = 0; visit < 3; visit += 1) expect((await fetch(other.url)).status).toBe(401);
  expect((await fetch(other.url, { headers: { authorization: basic(secret) } })).status).toBe(200);
  await other.close();
});
