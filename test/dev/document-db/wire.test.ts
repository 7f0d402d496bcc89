import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { deserialize, Long, serialize } from 'bson';
import { type DocumentDb, startDocumentDb } from '../../../dev/document-db/server.ts';
import { eventually } from '../../support/eventually.ts';

let db: DocumentDb;
const sockets: Socket[] = [];
beforeAll(async () => {
  db = await startDocumentDb();
});
afterAll(() => db.close());
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
});

type Doc = Record<string, unknown>;
interface Reply extends Doc {
  readonly responseTo: number;
}

const int32 = (...values: number[]) => {
  const bytes = Buffer.alloc(values.length * 4);
  for (const [at, value] of values.entries()) bytes.writeInt32LE(value, at * 4);
  return bytes;
};
const framed = (id: number, opCode: number, body: Buffer) =>
  Buffer.concat([int32(16 + body.length, id, 0, opCode), body]);
const section = (doc: Doc) => Buffer.concat([Buffer.from([0]), serialize(doc)]);
const sequence = (name: string, docs: readonly Doc[]) => {
  const body = Buffer.concat([Buffer.from(`${name}\0`), ...docs.map((doc) => serialize(doc))]);
  return Buffer.concat([Buffer.from([1]), int32(body.length + 4), body]);
};
const message = (id: number, doc: Doc, { flags = 0, more = Buffer.alloc(0) } = {}) =>
  framed(id, 2013, Buffer.concat([int32(flags), section({ ...doc, $db: 'wire' }), more]));

/** A client that knows nothing but the frame. */
async function client() {
  const socket = connect(db.port, '127.0.0.1').setNoDelay(true);
  sockets.push(socket);
  await once(socket, 'connect');
  let received = Buffer.alloc(0);
  const replies: Reply[] = [];
  socket.on('error', () => undefined);
  socket.on('data', (chunk) => {
    received = Buffer.concat([received, chunk]);
    while (received.length >= 4 && received.length >= received.readInt32LE(0)) {
      const size = received.readInt32LE(0);
      const start = received.readInt32LE(12) === 1 ? 36 : 21;
      replies.push({ ...deserialize(received.subarray(start, size)), responseTo: received.readInt32LE(8) });
      received = received.subarray(size);
    }
  });
  return {
    socket,
    replies,
    send: (bytes: Buffer) => socket.write(bytes),
    answered: (count: number) => eventually(() => expect(replies).toHaveLength(count)),
    closed: () => eventually(() => expect(socket.destroyed || socket.readableEnded).toBe(true)),
  };
}

describe('messages', () => {
  it('are understood wherever the network cuts them', async () => {
    const { send, socket, replies, answered } = await client();
    const insert = message(7, { insert: 'cut' }, { more: sequence('documents', [{ a: 1 }, { a: 2 }]) });
    // Two messages; each byte of both, and of the seam between them, is once the first of a packet.
    const both = Buffer.concat([insert, message(8, { ping: 1 })]);
    let count = 0;
    for (let cut = 1; cut < both.length; cut += 1) {
      send(both.subarray(0, cut));
      await new Promise((resolve) => setImmediate(resolve));
      send(both.subarray(cut));
      count += 2;
    }
    await answered(count);
    expect(replies.filter(({ responseTo, n }) => responseTo === 7 && n === 2)).toHaveLength(count / 2);
    expect(replies.filter(({ responseTo, ok }) => responseTo === 8 && ok === 1)).toHaveLength(count / 2);
    for (const byte of both) socket.write(Buffer.from([byte]));
    await answered(count + 2);
  });

  it('that come many at once are answered each, in their order', async () => {
    const { send, replies, answered } = await client();
    send(Buffer.concat(Array.from({ length: 200 }, (_, id) => message(id, { ping: 1 }))));
    await answered(200);
    expect(replies.map(({ responseTo }) => responseTo)).toEqual([...Array(200).keys()]);
  });

  it('that want no answer get none, and are obeyed', async () => {
    const { send, replies, answered } = await client();
    send(message(1, { insert: 'silent', documents: [{ a: 1 }] }, { flags: 2 }));
    send(message(2, { noSuchCommand: 1 }, { flags: 2 }));
    send(message(3, { count: 'silent' }));
    await answered(1);
    expect(replies).toEqual([{ responseTo: 3, n: 1, ok: 1 }]);
  });

  it('may carry a checksum, and lists of documents beside their body', async () => {
    const { send, replies, answered } = await client();
    const docs = Array.from({ length: 300 }, (_, n) => ({ n }));
    send(
      message(
        1,
        { insert: 'lists' },
        { flags: 1, more: Buffer.concat([sequence('documents', docs), int32(0)]) },
      ),
    );
    send(message(2, { delete: 'lists' }, { more: sequence('deletes', [{ q: { n: 7 }, limit: 1 }]) }));
    await answered(2);
    expect(replies.map(({ n }) => n)).toEqual([300, 1]);
  });

  it('of megabytes come through, in small pieces too', async () => {
    const { send, replies, answered } = await client();
    const bytes = message(1, { insert: 'big', documents: [{ _id: 1, text: 'x'.repeat(8_000_000) }] });
    for (let at = 0; at < bytes.length; at += 5_000) send(bytes.subarray(at, at + 5_000));
    send(message(2, { find: 'big' }));
    await answered(2);
    const cursor = replies[1]?.cursor as { firstBatch: { text: string }[] } | undefined;
    expect(cursor?.firstBatch[0]?.text).toHaveLength(8_000_000);
  });

  it('of the old kind are answered in the old kind: it is how drivers say hello', async () => {
    const { send, replies, answered } = await client();
    const query = Buffer.concat([
      int32(0),
      Buffer.from('admin.$cmd\0'),
      int32(0, -1),
      serialize({ ismaster: 1, helloOk: true }),
    ]);
    send(framed(5, 2004, query));
    await answered(1);
    expect(replies[0]).toMatchObject({ responseTo: 5, ok: 1, ismaster: true, helloOk: true });
  });
});

describe('a connection that cannot be understood is closed, and the others go on', () => {
  const body = section({ ping: 1, $db: 'wire' });
  const cases: [string, Buffer][] = [
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\nhost: localhost\r\n\r\n')],
    ['a length below its own header', int32(15, 1, 0, 2013)],
    ['a negative length', int32(-1, 1, 0, 2013)],
    ['a length above the limit', int32(48_000_017, 1, 0, 2013)],
    ['an unknown opcode', framed(1, 2012, Buffer.concat([int32(0), body]))],
    ['compression, which was never agreed', framed(1, 2012, Buffer.alloc(40))],
    [
      'a section of an unknown kind',
      framed(1, 2013, Buffer.concat([int32(0), Buffer.from([9]), body.subarray(1)])),
    ],
    [
      'a section longer than its message',
      framed(1, 2013, Buffer.concat([int32(0), Buffer.from([0]), int32(999)])),
    ],
    [
      'no document at all',
      framed(1, 2013, Buffer.concat([int32(0), Buffer.from([0]), int32(12), Buffer.alloc(8, 1)])),
    ],
    [
      'a list that goes nowhere',
      framed(
        1,
        2013,
        Buffer.concat([int32(0), body, Buffer.from([1]), int32(10), Buffer.from('a\0'), int32(0)]),
      ),
    ],
    ['a message without a body', framed(1, 2013, Buffer.alloc(2))],
  ];

  it.each(cases)('%s', async (_what, bytes) => {
    const [bad, good] = await Promise.all([client(), client()]);
    bad.send(Buffer.concat([bytes, message(2, { ping: 1 })]));
    await bad.closed();
    expect(bad.replies).toEqual([]);
    good.send(message(3, { ping: 1 }));
    await good.answered(1);
  });
});

it('says of itself what it is wherever it can', async () => {
  const { send, replies, answered } = await client();
  send(message(1, { buildInfo: 1 }));
  send(message(2, { serverStatus: 1 }));
  await answered(2);
  expect(replies[0]?.modules).toEqual(['embedded document database (not MongoDB)']);
  expect(replies[0]?.gitVersion).toContain('not MongoDB');
  expect(replies[1]?.process).toContain('not MongoDB');
});

it('gives ids of cursors as longs, as drivers send them back', async () => {
  const { send, replies, answered } = await client();
  send(message(1, { insert: 'longs', documents: [{}, {}, {}] }));
  send(message(2, { find: 'longs', batchSize: 2 }));
  await answered(2);
  const id = (replies[1]?.cursor as { id: number } | undefined)?.id ?? 0;
  expect(id).toBeGreaterThan(0);
  send(message(3, { getMore: Long.fromNumber(id), collection: 'longs' }));
  send(message(4, { killCursors: 'longs', cursors: [Long.fromNumber(id)] }));
  await answered(4);
  expect(replies[2]).toMatchObject({ ok: 1, cursor: { id: 0, nextBatch: [{}] } });
  expect(replies[3]).toMatchObject({ ok: 1, cursorsKilled: [], cursorsNotFound: [id] });
});
