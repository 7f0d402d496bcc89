import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { describe, expect, it } from '@jest/globals';
import { createParser, type EventSourceMessage } from 'eventsource-parser';
import { InvalidInputError, NotFoundError, ServiceUnavailableError } from '../../src/errors.ts';
import type { TurnEntry } from '../../src/turn/entry.ts';
import type { StoredTurn } from '../../src/turn/stored-turn.ts';
import { type EventStreamOptions, eventStream } from '../../src/web/event-stream.ts';
import { deferred } from '../support/deferred.ts';
import { eventually } from '../support/eventually.ts';

const delta = 'one\ntwo\r\n\n: three\u2028\u0000 👩‍🚀';
const all: readonly TurnEntry[] = [
  { type: 'progress', progress: 'queued', id: '1' },
  { type: 'text', partId: 'prt_1', offset: 0, delta, id: '2' },
  { type: 'finished', status: 'completed', text: delta, id: '3' },
];

/** A turn of these entries; `then` comes behind each, with the reader's signal. */
function source(entries = all, then = async (_at: number, _signal: AbortSignal): Promise<void> => undefined) {
  const asked: { after?: string }[] = [];
  const state = { read: 0, left: false };
  async function* follow(
    _turnId: string,
    { after, signal }: { after?: string; signal?: AbortSignal },
  ): AsyncGenerator<TurnEntry> {
    asked.push(after === undefined ? {} : { after });
    if (after === 'x') throw new InvalidInputError('after', 'must be a cursor');
    try {
      for (const [at, entry] of entries.entries()) {
        if (after !== undefined && Number(entry.id) <= Number(after)) continue;
        state.read += 1;
        yield entry;
        await then(at, signal as AbortSignal);
        if (signal?.aborted) return;
      }
    } finally {
      state.left = true;
    }
  }
  const get = async (turnId: string) => (turnId === 'known' ? ({} as StoredTurn) : null);
  const open = (options?: EventStreamOptions, turnId = 'known') =>
    eventStream({ get, follow }, turnId, options);
  return { open, asked, state };
}

/** As a browser reads it. */
function parsed(text: string) {
  const messages: EventSourceMessage[] = [];
  const comments: string[] = [];
  const parser = createParser({
    onEvent: (message) => messages.push(message),
    onComment: (comment) => comments.push(comment),
  });
  parser.feed(text);
  return { messages, comments, entries: messages.map(({ data }) => JSON.parse(data) as TurnEntry) };
}

const untilAborted = (signal: AbortSignal) =>
  new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });

describe('the stream of a turn', () => {
  it('tells every entry whole under its id, and ends with the turn', async () => {
    const response = await source().open();
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
    expect(response.headers.get('cache-control')).toContain('no-cache');
    const text = await response.text();
    expect(text).toMatch(/^retry: 1000\n\n/);
    const { messages, entries } = parsed(text);
    expect(entries).toEqual(all);
    expect(messages.map(({ id }) => id)).toEqual(['1', '2', '3/end']);
    expect(messages.map(({ event }) => event)).toEqual([undefined, undefined, undefined]);
  });

  it('goes on behind the last event that the browser names', async () => {
    const { open, asked } = source();
    expect(parsed(await (await open({ lastEventId: '1' })).text()).entries).toEqual(all.slice(1));
    expect(parsed(await (await open({ lastEventId: '' })).text()).entries).toEqual(all);
    expect(parsed(await (await open({ lastEventId: null })).text()).entries).toEqual(all);
    expect(asked).toEqual([{ after: '1' }, {}, {}]);
  });

  it('is 204 for a browser that has seen the end, so that it comes no more', async () => {
    const { open, asked } = source();
    const response = await open({ lastEventId: '3/end' });
    expect([response.status, await response.text()]).toEqual([204, '']);
    expect(asked).toEqual([]);
  });

  it('is refused by its class while there is no response yet', async () => {
    await expect(source().open({}, 'unknown')).rejects.toEqual(new NotFoundError('turn', 'unknown'));
    await expect(source().open({ lastEventId: '3/end' }, 'unknown')).rejects.toThrow(NotFoundError);
    await expect(source().open({ lastEventId: 'x' })).rejects.toThrow(InvalidInputError);
    // What a framework makes of a header or a query that came twice.
    for (const lastEventId of [['1', '2'], { 0: '1' }, 7])
      await expect(source().open({ lastEventId: lastEventId as never })).rejects.toThrow(InvalidInputError);
  });

  it('is kept alive by comments while nothing happens, which are no entries', async () => {
    const gate = deferred();
    const response = await source(all, (at) => (at === 1 ? gate.promise : Promise.resolve())).open({
      heartbeatMs: 100,
    });
    let text = '';
    for await (const bytes of response.body ?? []) {
      text += Buffer.from(bytes).toString();
      if (parsed(text).comments.length === 3) gate.resolve();
    }
    expect(parsed(text).entries).toEqual(all);
    expect(parsed(text).comments.length).toBeGreaterThanOrEqual(3);
  });

  it('reads no further than its client', async () => {
    const { open, state } = source();
    const reader = (await open()).body?.getReader();
    await reader?.read();
    await reader?.read();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(state.read).toBe(1);
    await reader?.read();
    expect(state.read).toBe(2);
    await reader?.cancel();
  });
});

describe('a client that leaves', () => {
  it.each(['before it has read anything', 'in the middle'] as const)(
    '%s ends the following',
    async (when) => {
      const { open, state } = source(all, (_at, signal) => untilAborted(signal));
      const reader = (await open()).body?.getReader();
      if (when === 'in the middle') for (let n = 0; n < 2; n += 1) await reader?.read();
      const waiting = when === 'in the middle' ? reader?.read() : undefined;
      await reader?.cancel();
      await waiting;
      expect(state.left).toBe(true);
    },
  );

  it('as its request tells ends the response without an error', async () => {
    const request = new AbortController();
    const { open, state } = source(all, (_at, signal) => untilAborted(signal));
    const response = await open({ signal: request.signal });
    const text = response.text();
    request.abort();
    expect(parsed(await text).entries).toEqual(all.slice(0, 1));
    expect(state.left).toBe(true);
  });

  it('as its request tells while nobody reads leaves nothing behind', async () => {
    const request = new AbortController();
    const { open, state } = source();
    const response = await open({ signal: request.signal });
    request.abort();
    await eventually(() => expect(state.left).toBe(true));
    expect(parsed(await response.text()).entries).toEqual(all.slice(0, 1));
  });
});

it('a service that goes away ends the response, for the browser to come back', async () => {
  const failing = source(all, (at) =>
    at === 1 ? Promise.reject(new ServiceUnavailableError('redis', 'away')) : Promise.resolve(),
  );
  expect(parsed(await (await failing.open()).text()).entries).toEqual(all.slice(0, 2));
});

it('goes out over node:http as the document says', async () => {
  const { open } = source();
  const server = createServer(async (request, response) => {
    const leave = new AbortController();
    response.on('close', () => leave.abort());
    const events = await open({
      lastEventId: request.headers['last-event-id'],
      signal: leave.signal,
    });
    response.writeHead(events.status, Object.fromEntries(events.headers));
    if (events.body) Readable.fromWeb(events.body as never).pipe(response);
    else response.end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const whole = await fetch(url);
  expect(whole.headers.get('content-type')).toContain('text/event-stream');
  expect(parsed(await whole.text()).entries).toEqual(all);
  expect((await fetch(url, { headers: { 'last-event-id': '3/end' } })).status).toBe(204);
  server.close();
  server.closeAllConnections();
});
