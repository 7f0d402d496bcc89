import type { Socket } from 'node:net';
import { startSocketPairs, throughPort } from './socket-pairs.ts';

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
  let state: 'open' | 'cut' | 'frozen' = 'open';
  let room = Number.POSITIVE_INFINITY;
  const pairs = await startSocketPairs({ hostname, port: Number(port) }, (client, connect) => {
    if (state === 'cut' || pairs.open.size >= room) {
      client.resetAndDestroy();
      return;
    }
    const upstream = connect();
    for (const [from, to] of [[client, upstream] as const, [upstream, client] as const]) {
      from.pipe(to);
      if (state === 'frozen') from.pause();
    }
  });
  const each = (act: (socket: Socket) => void) => {
    for (const pair of [...pairs.open]) for (const socket of pair) act(socket);
  };
  return {
    port: pairs.port,
    get connections() {
      return pairs.open.size;
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
    stop: () => pairs.stop(),
  };
}

/** The same URL, by way of the proxy. */
export function through(proxy: TcpProxy, url: string): string {
  return throughPort(url, proxy.port);
}
