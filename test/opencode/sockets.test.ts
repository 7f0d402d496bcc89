import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { serverAddress } from '../../src/opencode/address.ts';
import { openCodeClient } from '../../src/opencode/v1/client.ts';
import { EventHub } from '../../src/opencode/v1/event-hub.ts';
import type { FeedSink } from '../../src/opencode/v1/server.ts';
import { eventually } from '../support/eventually.ts';

const sockets = new Set<Socket>();
/** What the server has not answered yet. */
let waiting: ServerResponse[];
let most: number;
let url: string;
let hub: EventHub;
const server = createServer((_request, response) => waiting.push(response));
server.on('connection', (socket) => {
  sockets.add(socket);
  most = Math.max(most, sockets.size);
  socket.on('close', () => sockets.delete(socket));
});

const reports: string[] = [];
const reporter = { report: (_: unknown, { action }: { action: string }) => void reports.push(action) };
const quick = { connectMs: 5_000, silenceMs: 5_000, backoff: { firstMs: 1, maxMs: 1 } };
const sinkOf = (told: string[]): FeedSink => ({
  connected: () => told.push('connected'),
  event: ({ type }) => told.push(type),
  gap: (error) => told.push(`gap: ${(error as Error).message}`),
});

beforeEach(async () => {
  waiting = [];
  most = 0;
  reports.length = 0;
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  hub = new EventHub({ address: serverAddress(url), reporter, times: quick });
});
afterEach(async () => {
  await hub.close();
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => server.close(resolve));
});

const next = () => {
  const response = waiting.shift();
  if (!response) throw new Error('nobody asked');
  return response;
};

it('streams that are refused, ended or closed leave no socket behind', async () => {
  const told: string[] = [];
  const subscription = hub.subscribe('/a', ['ses_1'], sinkOf(told));
  await eventually(() => expect(waiting).toHaveLength(1));
  // An answer that says no and never ends.
  next().writeHead(500, { 'content-type': 'text/html' }).write('<html>');
  await eventually(() => expect(waiting).toHaveLength(1));
  await eventually(() => expect(sockets.size).toBe(1));
  const stream = next().writeHead(200, { 'content-type': 'text/event-stream' });
  stream.write('data: {"type":"server.connected","properties":{}}\n\n');
  stream.write('data: {"type":"session.idle","properties":{"sessionID":"ses_1"}}\n\n');
  await eventually(() => expect(told).toContain('session.idle'));
  stream.end();
  await eventually(() => expect(waiting).toHaveLength(1));
  await eventually(() => expect(sockets.size).toBe(1));
  subscription.close();
  await hub.close();
  await eventually(() => expect(sockets.size).toBe(0));
  expect(told).toEqual([
    'gap: OpenCode GET /event: answered 500 with text/html',
    'connected',
    'session.idle',
    'gap: OpenCode GET /event: the server ended the stream',
  ]);
  expect(reports).toEqual([]);
});

it('a thousand calls at once open a bounded number of sockets, and all are answered', async () => {
  const client = openCodeClient({ address: serverAddress(url), timeoutMs: 60_000 });
  const calls = Array.from({ length: 1_000 }, () => client.statuses('/a'));
  let answered = 0;
  await eventually(() => {
    for (const response of waiting.splice(0)) {
      answered += 1;
      response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
    }
    expect(answered).toBe(1_000);
  }, 60_000);
  expect(await Promise.all(calls)).toEqual(Array(1_000).fill({}));
  expect(most).toBeLessThanOrEqual(256);
});
