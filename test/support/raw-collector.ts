import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

export interface RawCollector {
  readonly url: string;
  /** Everything that was sent to a path, headers included. */
  sent(path: string): string;
  stop(): void;
}

/** Takes what OTLP/http sends and keeps it as it came; anything else that is asked gets an empty answer, too. */
export async function startRawCollector(): Promise<RawCollector> {
  const bodies: { path: string; content: string }[] = [];
  const server = createServer(async (request, response) => {
    const content = `${JSON.stringify(request.headers)}\n${await text(request)}`;
    bodies.push({ path: String(request.url), content });
    response.setHeader('content-type', 'application/json').end('{}');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    sent: (path) =>
      bodies
        .filter((body) => body.path.startsWith(path))
        .map(({ content }) => content)
        .join('\n'),
    stop: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
