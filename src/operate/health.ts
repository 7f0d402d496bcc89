import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { healthSettings } from '../config/board-settings.ts';

export interface HealthOptions {
  /** 0: a free one. Without one nothing listens. */
  readonly port?: number;
  /** Default 127.0.0.1: a container's own check needs no more. */
  readonly host?: string;
  /** Asked at each request. */
  readonly alive: () => boolean;
}

/**
 * `GET /healthz` for whoever restarts a process that hangs: 200 while `alive`, else 503; no answer at all while the
 * event loop stands still. Services that are away do not count: a restart would not bring them back. Throws the
 * system's error when the port is taken.
 */
export async function serveHealth({
  alive,
  ...given
}: HealthOptions): Promise<{ url: string; close(): Promise<void> }> {
  const { port, host } = healthSettings(given);
  if (port === undefined) return { url: '', close: async () => undefined };
  const server = createServer((request, response) => {
    const known = request.method === 'GET' && request.url === '/healthz';
    const ok = alive();
    response.writeHead(known ? (ok ? 200 : 503) : 404, { 'content-type': 'application/json' });
    response.end(JSON.stringify(known ? { ok } : {}));
  });
  server.listen(port, host);
  await once(server, 'listening');
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${(server.address() as AddressInfo).port}/healthz`,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
