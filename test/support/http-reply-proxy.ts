import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ReplyRules } from './reply-rules.ts';

export interface HttpCommand {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
}

export interface HttpReply {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

export type HttpAnswer = HttpReply | 'reset' | 'silence';

/** A gateway in front of an HTTP server that gives single answers of its own, before the server has got the request or after. */
export class HttpReplyProxy extends ReplyRules<HttpCommand, HttpAnswer> {
  readonly url: string;
  readonly #server: Server;
  readonly #target: string;

  static async start(target: string): Promise<HttpReplyProxy> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new HttpReplyProxy(target, server);
  }

  private constructor(target: string, server: Server) {
    super();
    this.#server = server;
    this.#target = target;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    server.on('request', (incoming, outgoing) => {
      this.#pass(incoming, outgoing).catch(() => outgoing.destroy());
    });
  }

  /** Resets all connections and takes no more. */
  async stop(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  async #pass(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const { pathname } = new URL(incoming.url ?? '/', this.#target);
    const rule = this.ruleFor({ method: incoming.method ?? 'GET', path: pathname });
    if (rule && !rule.executed) {
      incoming.resume();
      await once(incoming, 'end');
      answer(outgoing, rule.reply);
      return;
    }
    const real = await ask(this.#target, incoming, outgoing);
    if (!rule) {
      outgoing.writeHead(real.statusCode ?? 502, real.headers);
      outgoing.socket?.setNoDelay(true);
      real.on('error', () => outgoing.destroy());
      real.pipe(outgoing);
      return;
    }
    // An event stream has no end, and nothing of it was to arrive.
    if (/event-stream/.test(real.headers['content-type'] ?? '')) real.destroy();
    else for await (const _ of real);
    answer(outgoing, rule.reply);
  }
}

/** The request as it came; it ends when the client hangs up. */
function ask(target: string, incoming: IncomingMessage, outgoing: ServerResponse): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const { host: _host, ...headers } = incoming.headers;
    const forwarded = request(new URL(incoming.url ?? '/', target), { method: incoming.method, headers });
    forwarded.once('response', resolve);
    forwarded.on('error', reject);
    outgoing.once('close', () => forwarded.destroy());
    incoming.pipe(forwarded);
  });
}

function answer(outgoing: ServerResponse, reply: HttpAnswer): void {
  if (reply === 'silence') return;
  if (reply === 'reset') return void outgoing.socket?.resetAndDestroy();
  const { status, headers = {}, body = '' } = reply;
  outgoing.writeHead(status, headers);
  outgoing.end(body);
}
