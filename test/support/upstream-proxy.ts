import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface ProxiedRequest {
  readonly method: string;
  readonly path: string;
  /** The directory that the request names; session routes name none. */
  readonly directory: string | undefined;
  /** When it came, by `performance.now`. */
  readonly at: number;
}

/** Where the frames of one event stream go on to the client. */
export interface EventWire {
  /** 1 for the first stream of its directory, and so on. */
  readonly number: number;
  /** Each piece is an HTTP chunk of its own. */
  send(...pieces: (string | Uint8Array)[]): void;
  /** Cuts the connection. */
  cut(): void;
}

/** Gets each frame (`data: …\n\n`) of a stream in order, and decides what the client sees of it. */
export type EventFault = (wire: EventWire) => (frame: string) => void;

export const whole: EventFault = (wire) => (frame) => wire.send(frame);

/** What the client gets in place of the server's answer. */
export interface Substitute {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** The server gets the request all the same, and acts on it. */
  readonly applied?: boolean;
}

type Substitution = (request: ProxiedRequest) => Substitute | undefined;
type Gate = (request: ProxiedRequest) => Promise<unknown> | undefined;
/** Undefined: the answer goes back as it came. */
type Rewrite = (request: ProxiedRequest) => ((body: unknown) => unknown) | undefined;

/** The body of an answer, or undefined. */
type Answer = (request: ProxiedRequest) => { readonly body: unknown } | undefined;

export interface UpstreamProxy {
  readonly url: string;
  /** Every request that came, in order; those for event streams too. */
  readonly requests: readonly ProxiedRequest[];
  /** What is done to the event streams of a directory that open from now on. */
  spoil(directory: string, fault: EventFault): void;
  /** Awaited before a request goes on to the server. One that rejects cuts the request's connection. */
  before(gate: Gate): void;
  /** Awaited before the server's answer goes back. One that rejects cuts the request's connection. */
  after(gate: Gate): void;
  /** Answers with this JSON in the server's place, which hears nothing of the request. Undefined: it goes on. */
  instead(answer: Answer): void;
  /** Answers in the server's place; undefined: the server answers. */
  substitute(substitution: Substitution): void;
  /** Changes JSON answers on their way back. */
  rewrite(rewrite: Rewrite): void;
  stop(): Promise<void>;
}

/** An HTTP proxy on loopback in front of an OpenCode server that counts, holds and cuts requests and spoils event streams. */
export async function startUpstreamProxy(target: string): Promise<UpstreamProxy> {
  const requests: ProxiedRequest[] = [];
  const faults = new Map<string, { fault: EventFault; streams: number }>();
  let before: Gate = () => undefined;
  let after: Gate = () => undefined;
  let rewrite: Rewrite = () => undefined;
  let instead: Answer = () => undefined;
  let substitution: Substitution = () => undefined;

  async function pass(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(incoming.url ?? '/', target);
    const header = incoming.headers['x-opencode-directory'];
    const named = searchParams.get('directory') ?? (typeof header === 'string' ? header : undefined);
    const directory = named === undefined ? undefined : decodeURIComponent(named);
    const facts: ProxiedRequest = {
      method: incoming.method ?? 'GET',
      path: pathname,
      directory,
      at: performance.now(),
    };
    requests.push(facts);
    await before(facts);
    const given = instead(facts);
    if (given) {
      incoming.resume();
      outgoing.writeHead(200, { 'content-type': 'application/json' });
      return void outgoing.end(JSON.stringify(given.body));
    }
    const substitute = substitution(facts);
    if (substitute && substitute.applied !== true) return send(substitute, outgoing);
    const answer = await ask(target, incoming, outgoing);
    await after(facts);
    if (substitute) {
      answer.resume();
      await once(answer, 'end');
      return send(substitute, outgoing);
    }
    const change = rewrite(facts);
    if (change && answer.statusCode === 200) return replace(answer, outgoing, change);
    outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
    if (pathname === '/event') await stream(answer, outgoing, directory ?? '');
    else answer.pipe(outgoing);
  }

  async function stream(answer: IncomingMessage, outgoing: ServerResponse, directory: string): Promise<void> {
    const known = faults.get(directory);
    if (known) known.streams += 1;
    outgoing.socket?.setNoDelay(true);
    const take = (known?.fault ?? whole)({
      number: known?.streams ?? 1,
      send: (...pieces) => {
        for (const piece of pieces) outgoing.write(piece);
      },
      cut: () => outgoing.destroy(),
    });
    for await (const frame of frames(answer)) take(frame);
    outgoing.end();
  }

  const server = createServer((incoming, outgoing) => {
    pass(incoming, outgoing).catch(() => outgoing.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    spoil: (directory, fault) => void faults.set(directory, { fault, streams: 0 }),
    before: (gate) => {
      before = gate;
    },
    after: (gate) => {
      after = gate;
    },
    instead: (answer) => {
      instead = answer;
    },
    substitute: (next) => {
      substitution = next;
    },
    rewrite: (next) => {
      rewrite = next;
    },
    stop: async () => {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

function send({ status, headers = {}, body = '' }: Substitute, outgoing: ServerResponse): void {
  outgoing.writeHead(status, headers);
  outgoing.end(body);
}

/** The request as it came; it ends when the client hangs up. */
function ask(target: string, incoming: IncomingMessage, outgoing: ServerResponse): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    // Without compression: answers are read here.
    const { host: _host, 'accept-encoding': _encoding, ...headers } = incoming.headers;
    const forwarded = request(new URL(incoming.url ?? '/', target), { method: incoming.method, headers });
    forwarded.once('response', resolve);
    forwarded.once('error', reject);
    outgoing.once('close', () => forwarded.destroy());
    incoming.pipe(forwarded);
  });
}

async function replace(
  answer: IncomingMessage,
  outgoing: ServerResponse,
  change: (body: unknown) => unknown,
): Promise<void> {
  answer.setEncoding('utf8');
  let text = '';
  for await (const piece of answer) text += piece;
  outgoing.writeHead(200, { 'content-type': 'application/json' });
  outgoing.end(JSON.stringify(change(JSON.parse(text))));
}

async function* frames(answer: IncomingMessage): AsyncGenerator<string> {
  let rest = '';
  answer.setEncoding('utf8');
  for await (const text of answer) {
    const pieces = (rest + text).split('\n\n');
    rest = pieces.pop() ?? '';
    for (const piece of pieces) yield `${piece}\n\n`;
  }
}
