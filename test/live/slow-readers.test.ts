import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { Readable } from 'node:stream';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import type { Redis } from 'ioredis';
import { startRedis } from '../../dev/services/redis.ts';
import type { Service } from '../../dev/services/service.ts';
import { Levels } from '../../src/instrumentation/level.ts';
import { follow } from '../../src/live/follow.ts';
import type { TurnReader } from '../../src/ports/turn-stream.ts';
import { openRedis } from '../../src/redis/connection.ts';
import { streamNotifier } from '../../src/redis/notifier.ts';
import { Subscriber } from '../../src/redis/subscriber.ts';
import { TurnStream } from '../../src/redis/turn-stream.ts';
import type { StoredTurn } from '../../src/turn/stored-turn.ts';
import { eventStream } from '../../src/web/event-stream.ts';
import { eventually } from '../support/eventually.ts';
import { followedStore } from '../support/followed-store.ts';

/** Browsers that ask for a turn and read nothing of the answer: real sockets, a real Redis, the memory of this process. */
const readers = 40;
const bytes = 7 * 1024 * 1024;
const reporter = { report: () => undefined };
const turn = {
  id: '0'.repeat(24),
  status: 'pending',
  parts: [],
  requests: [],
  artifacts: [],
  run: { phase: 'prompted', epoch: 1, reruns: 0, resends: 0 },
} as unknown as StoredTurn;
const prefix = 'slow-readers';
let service: Service;
let redis: Redis;
let subscriber: Redis;
let server: Server;
let reads = 0;
let open = 0;
const sockets: Socket[] = [];

beforeAll(async () => {
  service = await startRedis(() => undefined);
  redis = await openRedis(service.url, 'commands', reporter);
  subscriber = await openRedis(service.url, 'subscriber', reporter);
  const notifier = streamNotifier(new Subscriber(subscriber, reporter), prefix);
  const kept = new TurnStream({ redis, prefix });
  const stream: TurnReader = {
    closed: false,
    read: (...args) => {
      reads += 1;
      return kept.read(...args);
    },
  };
  const delta = 'x'.repeat(8_000);
  for (let told = 0; told < bytes; told += 100 * delta.length)
    await kept.append(
      { turnId: turn.id, epoch: 1 },
      'any',
      Array.from({ length: 100 }, (_, at) => ({ type: 'text', partId: 'prt_1', offset: told + at, delta })),
    );
  const get = async () => turn;
  const turns = {
    get,
    follow: (id: string, options: { after?: string; signal?: AbortSignal }) =>
      follow({ store: followedStore(get), stream, notifier, levels: new Levels() }, id, options),
  };
  server = createServer(async (_request, response) => {
    const leave = new AbortController();
    open += 1;
    response.on('close', () => {
      open -= 1;
      leave.abort();
    });
    const events = await eventStream(turns, turn.id, { signal: leave.signal });
    response.writeHead(events.status, Object.fromEntries(events.headers));
    Readable.fromWeb(events.body as never).pipe(response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterAll(async () => {
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => server?.close(resolve));
  subscriber?.disconnect();
  redis?.disconnect();
  await service?.stop();
});

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
function held(): number {
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** When nothing more is read for any of them: each has filled what is between him and Redis. */
async function allStand(): Promise<void> {
  let [before, looks] = [-1, 0];
  await eventually(() => {
    looks = reads === before ? looks + 1 : 0;
    before = reads;
    expect([open, looks]).toEqual([readers, 40]);
    // What lies between fills by megabytes, and a busy machine takes its time.
  }, 120_000);
}

it('hold less than a megabyte each, and nothing once they are gone', async () => {
  const before = held();
  const { port } = server.address() as AddressInfo;
  for (let n = 0; n < readers; n += 1) {
    const socket = connect(port, '127.0.0.1');
    socket.pause();
    socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
    sockets.push(socket);
  }
  await allStand();
  // They have begun, and are far from the end of what there is for them.
  expect(reads).toBeGreaterThanOrEqual(readers);
  expect(reads).toBeLessThan((readers * bytes) / (256 * 1024));
  // What a collection leaves behind at first is not held: weak references and finalizers take another turn of the loop.
  await eventually(() => expect((held() - before) / readers).toBeLessThan(1024 * 1024));
  for (const socket of sockets) socket.destroy();
  await eventually(() => expect(open).toBe(0));
  await eventually(() => expect(held() - before).toBeLessThan(readers * 200 * 1024));
}, 180_000);
