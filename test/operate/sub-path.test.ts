import { once } from 'node:events';
import { createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Redis } from 'ioredis';
import { startRedis } from '../../dev/services/redis.ts';
import type { Service } from '../../dev/services/service.ts';
import { BullTurnJobs } from '../../src/bullmq/turn-jobs.ts';
import { InvalidConfigError } from '../../src/index.ts';
import { createBoard } from '../../src/operate/board.ts';
import { openRedis } from '../../src/redis/connection.ts';

const quiet = { report: () => undefined };
const access = { user: 'admin', password: 'long enough', reporter: quiet };
const headers = { authorization: `Basic ${Buffer.from('admin:long enough').toString('base64')}` };
const basePath = '/ops/queues';
let service: Service;
let redis: Redis;
let jobs: BullTurnJobs;
let board: Awaited<ReturnType<typeof createBoard>>;
const proxies: Server[] = [];

beforeAll(async () => {
  service = await startRedis(() => undefined);
  redis = await openRedis(service.url, 'commands', quiet);
  jobs = new BullTurnJobs(redis, 'test-sub-path', quiet);
  board = await createBoard({ queue: jobs.queue, ...access, basePath });
}, 60_000);
afterAll(async () => {
  for (const proxy of proxies) proxy.closeAllConnections();
  for (const proxy of proxies) proxy.close();
  await board.close();
  await jobs.close();
  await redis.quit();
  await service.stop();
});

/** A proxy that hands `/ops/queues` on, as it is or without it, as web servers do; everything else is not found. */
async function proxy(strips: boolean): Promise<string> {
  const { port } = new URL(board.url);
  const server = createServer((incoming, outgoing) => {
    const given = incoming.url ?? '';
    if (given !== basePath && !given.startsWith(`${basePath}/`)) return outgoing.writeHead(404).end();
    const path = strips ? given.slice(basePath.length) || '/' : given;
    const passed = request({ port, path, headers: incoming.headers }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(outgoing);
    });
    passed.end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  proxies.push(server);
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

describe.each([
  ['leaves the path as it is', false],
  ['takes the path off', true],
])('behind a proxy that %s', (_, strips) => {
  it('the page, its files and its data are found where the page says', async () => {
    const origin = await proxy(strips);
    const answer = await fetch(`${origin}${basePath}`, { headers });
    expect(answer.status).toBe(200);
    const page = await answer.text();
    const base = /<base href="([^"]+)"/.exec(page)?.[1] ?? '';
    expect(base).toBe(`${basePath}/`);
    const files = [...page.matchAll(/(?:src|href)="(static\/[^"]+\.(?:js|css))"/g)].map(([, file]) => file);
    expect(files.length).toBeGreaterThan(3);
    for (const file of [...files, 'api/queues']) {
      const { status } = await fetch(new URL(`${base}${file}`, origin), { headers });
      expect([file, status]).toEqual([file, 200]);
    }
    // Not signed in: still nobody's business.
    expect((await fetch(`${origin}${basePath}`)).status).toBe(401);
  });
});

it('by itself it shows its address, and the same page at /', async () => {
  expect(board.url.endsWith(basePath)).toBe(true);
  expect((await fetch(board.url, { headers })).status).toBe(200);
  expect((await fetch(new URL('/', board.url), { headers })).status).toBe(200);
  expect((await fetch(new URL('/healthz', board.url))).status).toBe(200);
});

it.each(['board', '/', '/a/', '//a', '/a b', '/a/../b%'])('refuses %s as a base path', async (given) => {
  const made = createBoard({ queue: jobs.queue, ...access, basePath: given });
  await expect(made).rejects.toBeInstanceOf(InvalidConfigError);
});
