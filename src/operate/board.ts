import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createBullBoard } from '@bull-board/api';
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter';
import { HonoAdapter } from '@bull-board/hono';
import { serve } from '@hono/node-server';
import { serveStatic } from '@hono/node-server/serve-static';
import type { Queue } from 'bullmq';
import { Hono } from 'hono';
import { getPath } from 'hono/utils/url';
import { boardSettings } from '../config/board-settings.ts';
import { InvalidConfigError } from '../errors.ts';
import { consoleReporter, type ErrorReporter } from '../instrumentation/error-reporter.ts';
import type { GuessBounds } from './guess-limit.ts';
import { headers, noForeignFonts, notKept } from './page-guard.ts';
import { signIn } from './sign-in.ts';

export interface BoardOptions {
  readonly queue: Queue;
  readonly user: string;
  readonly password: string;
  /** Default 127.0.0.1: what the board shows is nobody else's business. */
  readonly host?: string;
  /** Default 0: a free one. */
  readonly port?: number;
  /**
   * The path under which browsers reach it. Default `/board`. A proxy in front may leave it on its requests, or take it
   * off.
   */
  readonly basePath?: string;
  /** Told of wrong passwords. Default: a line on stderr. */
  readonly reporter?: ErrorReporter;
  /** Default: 10 wrong passwords a minute from one address, 100 from all. */
  readonly guesses?: Partial<GuessBounds>;
}

/**
 * Serves Bull Board, read-only, behind basic auth with a bound on guesses. `/healthz` answers without. Whatever is
 * not a GET is refused, and a page runs no script but the board's own. Throws InvalidConfigError for an
 * option that makes no sense, and the system's error when the port is taken.
 */
export async function createBoard(options: BoardOptions): Promise<{ url: string; close(): Promise<void> }> {
  const { queue, reporter = consoleReporter, ...given } = options;
  if (typeof queue?.getJobCounts !== 'function')
    throw new InvalidConfigError('queue', 'must be a Queue of BullMQ');
  const { user, password, host, port, basePath, guesses } = boardSettings(given);
  const adapter = new HonoAdapter(serveStatic);
  adapter.setBasePath(basePath);
  createBullBoard({ queues: [new BullMQAdapter(queue, { readOnlyMode: true })], serverAdapter: adapter });
  const app = new Hono({ getPath: (request) => pathBelow(basePath, getPath(request)) });
  app.use(headers, notKept);
  app.get('/healthz', (context) => context.json({ ok: true }));
  app.use(signIn({ user, password, reporter, guesses }));
  app.on(['POST', 'PUT', 'PATCH', 'DELETE'], '*', (context) =>
    context.text('Read-only', 405, { allow: 'GET' }),
  );
  app.use(noForeignFonts);
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

/** A path that the proxy in front has shortened, or that leads nowhere else, is one of the board's. */
function pathBelow(basePath: string, path: string): string {
  if (path === '/healthz' || path === basePath || path.startsWith(`${basePath}/`)) return path;
  return path === '/' ? basePath : basePath + path;
}
