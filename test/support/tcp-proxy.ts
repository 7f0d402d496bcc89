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
  /** The same, once so many more answers of the server have passed. */
  freezeAfter(answers: number): void;
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
  let answersLeft = Number.POSITIVE_INFINITY;
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
    // Behind the pipe's own listener: the last answer passes.
    upstream.on('data', () => {
      answersLeft -= 1;
      if (answersLeft === 0) freeze();
    });
  });
  const each = (act: (socket: Socket) => void) => {
    for (const pair of [...pairs.open]) for (const socket of pair) act(socket);
  };
  const freeze = () => {
    state = 'frozen';
    each((socket) => socket.pause());
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
    freeze,
    freezeAfter(answers) {
      answersLeft = answers;
      if (answers === 0) freeze();
    },
    forget() {
      each((socket) => socket.pause());
    },
    limit(connections) {
      room = connections;
    },
    restore() {
      state = 'open';
      answersLeft = Number.POSITIVE_INFINITY;
      each((socket) => socket.resume());
    },
    stop: () => pairs.stop(),
  };
}

/** The same URL, by way of the proxy. */
export function through(proxy: TcpProxy, url: string): string {
  return throughPort(url, proxy.port);
}
