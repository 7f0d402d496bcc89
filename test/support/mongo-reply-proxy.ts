import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { MessageSplitter, type Request, readRequest, writeReply } from '../../dev/document-db/framing.ts';

export type Doc = Record<string, unknown>;

/** One command of a client, as far as it was understood: its name is the first field of its body. */
export interface MongoCommand {
  /** Counts from 1 over all connections of the proxy. */
  readonly number: number;
  readonly name: string;
  readonly body: Doc;
}

export interface ReplyRule {
  /** The n-th command from now on (1 = the next), or the first one that this is true of. Default 1. */
  readonly at?: number | ((command: MongoCommand) => boolean);
  /** Whether the server gets the command, and its reply is thrown away, or the command never arrives there. */
  readonly executed: boolean;
  /** What the client gets instead; `cut` resets its connection without a word. */
  readonly reply: Doc | 'cut';
  /** How many commands are answered so. Default 1: mind that drivers repeat a read by themselves once. */
  readonly times?: number;
}

export interface PlacedRule {
  /** The commands that were answered by this rule. */
  readonly hits: readonly MongoCommand[];
}

interface Placed {
  readonly rule: ReplyRule;
  readonly hits: MongoCommand[];
  seen: number;
}

/** What drivers say by themselves, whenever they like: neither counted nor replaced. */
const unasked = new Set(['hello', 'ismaster', 'isMaster', 'ping', 'endSessions', 'buildInfo']);

/** An error as a MongoDB server replies it. */
export const errorReply = (code: number, errmsg = 'put in by a test', more: Doc = {}): Doc => ({
  ok: 0,
  code,
  errmsg,
  ...more,
});

/**
 * A proxy in front of a MongoDB server that replaces replies by others, before the server has executed the command
 * or after: what a client must cope with, and no real server does when asked. TCP and OP_MSG only, as drivers speak
 * them without compression.
 */
export class MongoReplyProxy {
  readonly url: string;
  /** Every command since the start, in the order of its coming. May be emptied. */
  readonly commands: MongoCommand[] = [];
  readonly #server: Server;
  readonly #target: URL;
  readonly #sockets = new Set<Socket>();
  #rules: Placed[] = [];
  #count = 0;

  /** In front of what a MongoDB URL names; the proxy's own URL has the same database and options. */
  static async start(targetUrl: string): Promise<MongoReplyProxy> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new MongoReplyProxy(targetUrl, server);
  }

  private constructor(targetUrl: string, server: Server) {
    this.#server = server;
    this.#target = new URL(targetUrl);
    const { port } = server.address() as AddressInfo;
    this.url = targetUrl.replace(/(:\/\/(?:[^@/]*@)?)[^/?]+/, `$1127.0.0.1:${port}`);
    server.on('connection', (client) => this.#join(client));
  }

  /** Rules are asked in the order in which they were placed; the first that wants a command gets it. */
  replace(rule: ReplyRule): PlacedRule {
    const placed: Placed = { rule, hits: [], seen: 0 };
    this.#rules.push(placed);
    return placed;
  }

  /** Forgets every rule; all replies pass again. */
  clear(): void {
    this.#rules = [];
  }

  /** Resets all connections and takes no more. */
  async stop(): Promise<void> {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #join(client: Socket): void {
    const upstream = connect(Number(this.#target.port || 27017), this.#target.hostname);
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      this.#sockets.add(from);
      from.setNoDelay(true);
      from.on('error', () => to.destroy());
      from.on('close', () => {
        this.#sockets.delete(from);
        to.destroy();
      });
    }
    /** By the number of the request that is answered. */
    const replaced = new Map<number, () => void>();
    const requests = new MessageSplitter();
    client.on('data', (chunk: Buffer) => {
      for (const message of requests.push(chunk)) {
        const request = readRequest(message);
        const rule = this.#ruleFor(request);
        if (!rule) upstream.write(message);
        else if (!rule.executed) answer(client, request, rule.reply);
        else {
          replaced.set(request.id, () => answer(client, request, rule.reply));
          upstream.write(message);
        }
      }
    });
    const replies = new MessageSplitter();
    upstream.on('data', (chunk: Buffer) => {
      for (const message of replies.push(chunk)) {
        const respondsTo = message.readInt32LE(8);
        const instead = replaced.get(respondsTo);
        replaced.delete(respondsTo);
        if (instead) instead();
        else client.write(message);
      }
    });
  }

  #ruleFor({ body }: Request): ReplyRule | undefined {
    const name = Object.keys(body)[0] ?? '';
    if (unasked.has(name)) return undefined;
    this.#count += 1;
    const command = { number: this.#count, name, body };
    this.commands.push(command);
    for (const placed of this.#rules) {
      const { at = 1, times = 1 } = placed.rule;
      placed.seen += 1;
      if (placed.hits.length >= times) continue;
      const wanted = typeof at === 'number' ? placed.seen >= at : at(command);
      if (!wanted) continue;
      placed.hits.push(command);
      return placed.rule;
    }
    return undefined;
  }
}

function answer(client: Socket, request: Request, reply: Doc | 'cut'): void {
  if (reply === 'cut') client.resetAndDestroy();
  else client.write(writeReply(request, reply));
}
