import { afterEach, expect, it } from '@jest/globals';
import { serveHealth } from '../../src/operate/health.ts';

let health: Awaited<ReturnType<typeof serveHealth>>;
afterEach(() => health.close());

it('says whether the process lives, at each request anew, and nothing else', async () => {
  let alive = true;
  health = await serveHealth({ port: 0, alive: () => alive });
  expect((await fetch(health.url)).status).toBe(200);
  alive = false;
  expect((await fetch(health.url)).status).toBe(503);
  expect((await fetch(health.url, { method: 'POST' })).status).toBe(404);
  expect((await fetch(health.url.replace('healthz', ''))).status).toBe(404);
});
