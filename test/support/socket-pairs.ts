import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export type SocketPair = readonly [client: Socket, upstream: Socket];

export interface SocketPairs {
  readonly port: number;
  readonly open: ReadonlySet<SocketPair>;
  /** Takes no more connections and ends those that are open. */
  stop(): Promise<void>;
}

/**
 * Listens on loopback and connects each client with the server of a URL: one that goes takes the other along. What goes
 * between them is `join`'s, which may turn a client away by not asking for its upstream.
 */
export async function startSocketPairs(
  target: { readonly hostname: string; readonly port: number },
  join: (client: Socket, upstream: () => Socket) => void,
): Promise<SocketPairs> {
  const open = new Set<SocketPair>();
  const server = createServer((client) => {
    join(client, () => {
      const upstream = connect(target.port, target.hostname);
      const pair = [client, upstream] as const;
      open.add(pair);
      for (const [from, to] of [pair, [upstream, client] as const]) {
        from.setNoDelay(true);
        from.on('error', () => to.destroy());
        from.on('close', () => {
          open.delete(pair);
          to.destroy();
        });
      }
      return upstream;
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    open,
    async stop() {
      server.close();
      for (const pair of open) for (const socket of pair) socket.destroy();
    },
  };
}

/** The same address by way of a port on loopback, with its credentials, path and options. */
export const throughPort = (url: string, port: number): string =>
  url.replace(/(:\/\/(?:[^@/]*@)?)[^/?]+/, `$1127.0.0.1:${port}`);
