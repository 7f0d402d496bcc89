import { createHash, timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createBullBoard } from '@bull-board/api';
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter';
import { HonoAdapter } from '@bull-board/hono';
import { serve } from '@hono/node-server';
import { serveStatic } from '@hono/node-server/serve-static';
import type { Queue } from 'bullmq';
import { Hono } from 'hono';
import { basicAuth } from 'hono/basic-auth';
import { InvalidConfigError } from '../errors.ts';

export interface BoardOptions {
  readonly queue: Queue;
  readonly user: string;
  readonly password: string;
  /** Default 127.0.0.1: what the board shows is nobody else's business. */
  readonly host?: string;
  /** Default 0: a free one. */
  readonly port?: number;
}

const basePath = '/board';

/**
 * Serves Bull Board, read-only, behind basic auth. `/healthz` answers without. Throws InvalidConfigError without
 * a password, and the system's error when the port is taken.
 */
export async function createBoard(options: BoardOptions): Promise<{ url: string; close(): Promise<void> }> {
  const { queue, user, password, host = '127.0.0.1', port = 0 } = options;
  if (user === '' || password.length < 8)
    throw new InvalidConfigError('BOARD_PASSWORD', 'must have at least 8 characters, and BOARD_USER one');
  const adapter = new HonoAdapter(serveStatic);
  adapter.setBasePath(basePath);
  createBullBoard({ queues: [new BullMQAdapter(queue, { readOnlyMode: true })], serverAdapter: adapter });
  const app = new Hono();
  app.get('/healthz', (context) => context.json({ ok: true }));
  app.use(
    '*',
    basicAuth({
      verifyUser: (givenUser, givenPassword) => same(givenUser, user) && same(givenPassword, password),
    }),
  );
  app.get('/', (context) => context.redirect(basePath));
  app.get(`${basePath}/`, (context) => context.redirect(basePath));
  app.route(basePath, adapter.registerPlugin());
  const server = serve({ fetch: app.fetch, hostname: host, port });
  await once(server, 'listening');
  const address = server.address() as AddressInfo;
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${address.port}${basePath}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        if ('closeAllConnections' in server) server.closeAllConnections();
      }),
  };
}

/** Takes the same time whatever was given. */
function same(given: string, wanted: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(wanted));
}
