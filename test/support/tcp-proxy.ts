import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface TcpProxy {
  readonly port: number;
  /** Connections that are open now. */
  readonly connections: number;
  /** Cuts every connection and refuses new ones, as a server does that is not there. */
  cut(): void;
  /** Keeps every connection and lets nothing through, as a network does that swallows packets. */
  freeze(): void;
  /** The connections that are open let nothing through any more and stay open; new ones work. A middlebox forgot them. */
  forget(): void;
  /** Refuses connections beyond so many. */
  limit(connections: number): void;
  restore(): void;
  stop(): Promise<void>;
}

/** A proxy on loopback in front of a service, to take the service away and bring it back. */
export async function startTcpProxy(target: string): Promise<TcpProxy> {
  const { hostname, port } = new URL(target);
  const pairs = new Set<readonly [Socket, Socket]>();
  let state: 'open' | 'cut' | 'frozen' = 'open';
  let room = Number.POSITIVE_INFINITY;
  const server = createServer((client) => {
    if (state === 'cut' || pairs.size >= room) {
      client.resetAndDestroy();
      return;
    }
    const upstream = connect(Number(port), hostname);
    const pair = [client, upstream] as const;
    pairs.add(pair);
    for (const [from, to] of [pair, [upstream, client] as const]) {
      from.on('error', () => to.destroy());
      from.on('close', () => {
        to.destroy();
        pairs.delete(pair);
      });
      from.pipe(to);
      if (state === 'frozen') from.pause();
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const each = (act: (socket: Socket) => void) => {
    for (const pair of [...pairs]) for (const socket of pair) act(socket);
  };
  return {
    port: (server.address() as AddressInfo).port,
    get connections() {
      return pairs.size;
    },
    cut() {
      state = 'cut';
      each((socket) => socket.resetAndDestroy());
    },
    freeze() {
      state = 'frozen';
      each((socket) => socket.pause());
    },
    forget() {
      each((socket) => socket.pause());
    },
    limit(connections) {
      room = connections;
    },
    restore() {
      state = 'open';
      each((socket) => socket.resume());
    },
    async stop() {
      server.close();
      each((socket) => socket.destroy());
    },
  };
}

/** The same URL, by way of the proxy. */
export function through(proxy: TcpProxy, url: string): string {
  return url.replace(/127\.0\.0\.1:\d+/, `127.0.0.1:${proxy.port}`);
}
