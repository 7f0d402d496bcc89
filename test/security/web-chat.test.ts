import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { request } from 'node:http';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { startMongo } from '../../dev/services/mongo.ts';
import { startRedis } from '../../dev/services/redis.ts';
import type { Service } from '../../dev/services/service.ts';
import { withDatabase } from '../support/database.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
let services: readonly Service[] = [];
let server: ChildProcess;
let base: string;

beforeAll(async () => {
  const [redis, mongo] = await Promise.all([startRedis(() => undefined), startMongo()]);
  services = [redis, mongo];
  server = spawn(process.execPath, ['--import', 'tsx', 'examples/web-chat/server.ts'], {
    cwd: root,
    env: {
      ...process.env,
      REDIS_URL: redis.url,
      MONGODB_URL: withDatabase(mongo.url, 'security_web_chat'),
      OPENCODE_TURNS_PREFIX: 'security-web-chat',
      // No turn is run here, and the page is served without the server that would run one.
      OPENCODE_URL: 'http://127.0.0.1:9',
      PORT: '0',
    },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const [line] = (await once(createInterface({ input: server.stdout as never }), 'line')) as [string];
  base = line.trim();
}, 90_000);
afterAll(async () => {
  server.kill('SIGKILL');
  await Promise.all(services.map((service) => service.stop()));
});

/** `fetch` sends the host that it connects to, whatever it is told. */
async function statusFor(host: string, path = '/', method = 'GET'): Promise<number | undefined> {
  const { hostname, port } = new URL(base);
  const ask = request({ hostname, port, path, method, headers: { host }, agent: false });
  ask.end();
  const [response] = await once(ask, 'response');
  response.resume();
  return response.statusCode;
}

it('answers to its own names only: a foreign page that leads here by its name gets nothing', async () => {
  const { port } = new URL(base);
  expect(await statusFor(`127.0.0.1:${port}`)).toBe(200);
  expect(await statusFor(`localhost:${port}`)).toBe(200);
  for (const host of ['evil.example', `evil.example:${port}`, `127.0.0.1.evil.example:${port}`]) {
    expect(await statusFor(host)).toBe(421);
    expect(await statusFor(host, '/conversations', 'POST')).toBe(421);
    expect(await statusFor(host, `/turns/${'0'.repeat(24)}/events`)).toBe(421);
  }
});

it('stops reading a body that is too large, whatever length was announced', async () => {
  const { hostname, port } = new URL(base);
  const headers = { 'content-type': 'application/json' };
  const ask = request({ hostname, port, path: '/conversations', method: 'POST', headers, agent: false });
  let sent = 0;
  ask.on('error', () => undefined);
  const answered = once(ask, 'response');
  const piece = Buffer.alloc(64 * 1024, 'x');
  const more = () => {
    while (sent < 600 * 1024 * 1024) {
      sent += piece.length;
      if (!ask.write(piece)) return;
    }
    ask.end();
  };
  ask.on('drain', more);
  more();
  const [response] = await answered;
  expect(response.statusCode).toBe(413);
  ask.destroy();
  // What the sockets of both ends hold, and no more.
  expect(sent).toBeLessThan(64 * 1024 * 1024);
});

it('serves a page that runs nothing but its own files, and is framed nowhere', async () => {
  const page = await fetch(base);
  const policy = page.headers.get('content-security-policy') ?? '';
  expect(policy).toMatch(/default-src 'none'.*script-src 'self';.*style-src 'self';/);
  expect(policy).not.toContain('unsafe');
  expect(page.headers.get('x-frame-options')).toBe('DENY');
  const html = await page.text();
  expect(html).not.toMatch(/<script(?![^>]*src=)|<style|\son\w+=/);
  for (const file of ['/page.js', '/page.css', '/view.js'])
    expect((await fetch(`${base}${file}`)).headers.get('x-content-type-options')).toBe('nosniff');
});
