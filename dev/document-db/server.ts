import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { refuseProduction } from '../services/service.ts';
import { runCommand } from './commands.ts';
import { Cursors } from './cursors.ts';
import { Databases } from './database.ts';
import { FramingError, MessageSplitter, readRequest, writeReply } from './framing.ts';

export interface DocumentDb {
  readonly url: string;
  readonly port: number;
  close(): Promise<void>;
}

/**
 * Starts the embedded document database on loopback, in memory. For development and tests: no users, no
 * durability, one thread. Throws InvalidConfigError when NODE_ENV is `production`.
 */
export async function startDocumentDb({ port = 0 }: { port?: number } = {}): Promise<DocumentDb> {
  refuseProduction();
  const state = { databases: new Databases(), cursors: new Cursors() };
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    serve(socket, state);
  });
  await listen(server, port);
  const address = server.address() as AddressInfo;
  return {
    url: `mongodb://127.0.0.1:${address.port}`,
    port: address.port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

/** Loopback only: there are no users to keep others out. */
function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => resolve());
  });
}

function serve(socket: Socket, state: Parameters<typeof runCommand>[1]): void {
  const splitter = new MessageSplitter();
  socket.setNoDelay(true);
  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk: Buffer) => {
    try {
      for (const message of splitter.push(chunk)) {
        const request = readRequest(message);
        const reply = runCommand(request.body, state);
        if (!request.silent) socket.write(writeReply(request, reply));
      }
      // A client that asks and does not read gets no further, and its answers do not pile up here.
      if (socket.writableNeedDrain) {
        socket.pause();
        socket.once('drain', () => socket.resume());
      }
    } catch (error) {
      // Whatever this client says next cannot be understood; the others go on.
      if (!(error instanceof FramingError)) console.error('[document-db]', error);
      socket.destroy();
    }
  });
}
