import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { serverAddress } from '../../src/opencode/address.ts';
import { LargeBodies } from '../../src/opencode/large-bodies.ts';
import { openCodeClient } from '../../src/opencode/v1/client.ts';
import { EventHub } from '../../src/opencode/v1/event-hub.ts';
import { eventually } from '../support/eventually.ts';

const mebibyte = 1024 * 1024;
const sockets = new Set<Socket>();
let answer: (request: IncomingMessage, response: ServerResponse) => void;
let asked: number;
let url: string;
const server = createServer((request, response) => {
  asked += 1;
  response.on('error', () => undefined);
  answer(request, response);
});
server.on('connection', (socket) => {
  sockets.add(socket);
  socket.on('error', () => undefined);
  socket.on('close', () => sockets.delete(socket));
});

beforeEach(async () => {
  asked = 0;
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => server.close(resolve));
});

/** Sends the piece again and again, as fast as it is taken, until nobody listens. Answers how many bytes went out. */
async function pour(response: ServerResponse, piece: Buffer, bytes: { sent: number }): Promise<void> {
  while (!response.destroyed) {
    bytes.sent += piece.byteLength;
    if (response.write(piece)) await new Promise(setImmediate);
    else
      await new Promise<void>((resolve) => {
        const go = () => {
          response.off('drain', go).off('close', go);
          resolve();
        };
        response.on('drain', go).on('close', go);
      });
  }
}

const gone = () => eventually(() => expect(sockets.size).toBe(0));
const client = (timeoutMs = 60_000) => openCodeClient({ address: serverAddress(url), timeoutMs });

describe('a body', () => {
  const piece = Buffer.alloc(mebibyte, '[');

  it.each([
    ['of an answer', 200],
    ['of an error', 500],
    ['of a refusal', 404],
  ])('%s that does not end is read to a bound, and its connection closed', async (_, status) => {
    const bytes = { sent: 0 };
    answer = (_request, response) => {
      response.writeHead(status, { 'content-type': 'application/json' });
      void pour(response, piece, bytes);
    };
    const call = client().statuses('/a');
    await expect(call).rejects.toMatchObject({
      code: 'upstream_answer_too_large',
      message: expect.stringContaining('a body of more than 67108864 bytes; the connection was closed'),
    });
    await gone();
    expect(bytes.sent).toBeLessThan(100 * mebibyte);
    expect(asked).toBe(1);
  });

  it('that is small and unpacks to gigabytes is unpacked to a bound', async () => {
    const member = gzipSync(Buffer.alloc(64 * mebibyte));
    answer = (_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' });
      response.end(Buffer.concat(Array.from({ length: 64 }, () => member)));
    };
    const before = process.memoryUsage().rss;
    let most = before;
    const watch = setInterval(() => {
      most = Math.max(most, process.memoryUsage().rss);
    }, 5);
    const one = client();
    const calls = Array.from({ length: 8 }, () => one.messages('ses_1'));
    const settled = await Promise.allSettled(calls);
    clearInterval(watch);
    for (const call of settled) expect(call).toMatchObject({ reason: { code: 'upstream_answer_too_large' } });
    // Eight would unpack to 32 GB; each is read to 128 MB, four at a time.
    expect(most - before).toBeLessThan(1_200 * mebibyte);
    await gone();
  });

  it('that is not packed as it says is no answer', async () => {
    answer = (_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' }).end('{}');
    };
    await expect(client().statuses('/a')).rejects.toMatchObject({ code: 'upstream_foreign_answer' });
  });

  it('that trickles is waited for within the time of the call, and its connection closed', async () => {
    answer = (_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      const trickle = setInterval(() => response.write(' '), 20);
      response.on('close', () => clearInterval(trickle));
    };
    await expect(client(300).statuses('/a')).rejects.toMatchObject({ code: 'upstream_timeout' });
    await gone();
  });

  it('of a file is read to the cap of the file', async () => {
    const bytes = { sent: 0 };
    answer = (_request, response) => {
      response.writeHead(200, { 'content-type': 'application/octet-stream' });
      void pour(response, piece, bytes);
    };
    const file = { directory: '/a', path: 'x.bin', maxBytes: 5 * mebibyte };
    await expect(client().readFile(file)).rejects.toMatchObject({
      code: 'file_too_large',
      filename: 'x.bin',
    });
    await gone();
    expect(bytes.sent).toBeLessThan(40 * mebibyte);
  });

  it('grows large in a few calls at a time; the others go on when one has ended', async () => {
    const places = new LargeBodies(2);
    const never = new AbortController();
    const [first, second] = [await places.take(never.signal), await places.take(never.signal)];
    const order: string[] = [];
    const impatient = new AbortController();
    const third = places.take(impatient.signal).catch((error: Error) => order.push(error.message));
    const fourth = places.take(never.signal).then(() => order.push('fourth'));
    impatient.abort(new Error('third leaves'));
    await third;
    first();
    await fourth;
    second();
    (await places.take(never.signal))();
    expect(order).toEqual(['third leaves', 'fourth']);
  });
});

it('a header block that does not end is read to a bound, and its connection closed', async () => {
  answer = (request) => {
    const { socket } = request;
    socket.write('HTTP/1.1 200 OK\r\n');
    const more = () =>
      socket.writable && socket.write(`x-more: ${'a'.repeat(8_000)}\r\n`, () => setImmediate(more));
    more();
  };
  await expect(client().statuses('/a')).rejects.toMatchObject({ code: 'upstream_answer_too_large' });
  await gone();
});

it('a redirect is not followed, and nothing is sent to where it leads', async () => {
  const visited: string[] = [];
  const target = createServer((request, response) => {
    visited.push(String(request.url));
    response.end();
  });
  await new Promise<void>((resolve) => target.listen(0, '127.0.0.1', resolve));
  const { port } = target.address() as AddressInfo;
  try {
    for (const status of [301, 302, 303, 307, 308]) {
      answer = (_request, response) =>
        response.writeHead(status, { location: `http://user:secret@127.0.0.1:${port}/in?key=secret` }).end();
      const request = {
        messageId: 'msg_1',
        parts: [{ id: 'prt_1', type: 'text' as const, text: 'the words' }],
      };
      const refused = { code: 'upstream_redirect', message: expect.not.stringContaining('secret') };
      await expect(client().prompt('ses_1', request)).rejects.toMatchObject(refused);
      await expect(client().statuses('/a')).rejects.toMatchObject(refused);
      await expect(client().readFile({ directory: '/a', path: 'x', maxBytes: 9 })).rejects.toMatchObject(
        refused,
      );
    }
    const told: unknown[] = [];
    const hub = new EventHub({ address: serverAddress(url), reporter: { report: () => undefined } });
    hub.subscribe('/a', [], { connected: () => undefined, event: () => undefined, gap: (e) => told.push(e) });
    await eventually(() =>
      expect(told).toContainEqual(expect.objectContaining({ code: 'upstream_redirect' })),
    );
    await hub.close();
  } finally {
    target.close();
  }
  expect(visited).toEqual([]);
});

describe('an event stream', () => {
  const told: unknown[] = [];
  const reports: unknown[] = [];
  const times = { connectMs: 60_000, silenceMs: 60_000, backoff: { firstMs: 1, maxMs: 1 } };
  const open = (more: Partial<typeof times> = {}) => {
    told.length = 0;
    reports.length = 0;
    const reporter = { report: (error: unknown) => void reports.push(error) };
    const hub = new EventHub({ address: serverAddress(url), reporter, times: { ...times, ...more } });
    hub.subscribe('/a', ['ses_1'], {
      connected: () => told.push('connected'),
      event: ({ type }) => told.push(type),
      gap: (error) => told.push(error),
    });
    return hub;
  };
  const connected = 'data: {"type":"server.connected","properties":{}}';

  it.each([
    ['LF', '\n'],
    ['CR', '\r'],
    ['CRLF', '\r\n'],
    ['nothing', ''],
  ])('whose event does not end, in lines that end in %s, is closed, and told once', async (_, end) => {
    const bytes = { sent: 0 };
    answer = (_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(`${connected}\n\n`);
      if (asked <= 2) void pour(response, Buffer.from(`data: ${'x'.repeat(60_000)}${end}`), bytes);
    };
    const hub = open();
    await eventually(() => expect(told.filter((one) => one === 'connected')).toHaveLength(3), 30_000);
    const large = expect.objectContaining({ code: 'upstream_answer_too_large' });
    expect(told).toEqual(['connected', large, 'connected', large, 'connected']);
    expect(reports).toEqual([large]);
    expect(bytes.sent).toBeLessThan(80 * mebibyte);
    await hub.close();
    await gone();
  });

  it.each([
    ['LF', '\n'],
    ['CR', '\r'],
    ['CRLF', '\r\n'],
  ])('of many events in lines that end in %s may be longer than any of them', async (_, end) => {
    const event = `data: {"type":"x","properties":{"text":"${'x'.repeat(100_000)}"}}${end}${end}`;
    answer = (_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(`${connected}${end}${end}${event.repeat(200)}: end${end}`);
    };
    const hub = open();
    await eventually(() => expect(told).toHaveLength(201), 30_000);
    await hub.close();
  });

  it('that never says it is connected is given up in time, whatever else it says', async () => {
    answer = (_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      const chat = setInterval(() => response.write(': still here\n\n'), 10);
      response.on('close', () => clearInterval(chat));
    };
    const hub = open({ connectMs: 200 });
    const late = expect.objectContaining({ message: expect.stringContaining('not connected in time') });
    await eventually(() => expect(told[0]).toEqual(late));
    await hub.close();
    await gone();
  });
});
