import type { Socket } from 'node:net';
import { MessageSplitter, type Request, readRequest, writeReply } from '../../dev/document-db/framing.ts';
import { type PlacedRule, type ReplyRule, ReplyRules } from './reply-rules.ts';
import { type SocketPairs, startSocketPairs, throughPort } from './socket-pairs.ts';

export type Doc = Record<string, unknown>;

/** One command of a client, as far as it was understood: its name is the first field of its body. */
export interface MongoCommand {
  /** Counts from 1 over all connections of the proxy. */
  readonly number: number;
  readonly name: string;
  readonly body: Doc;
}

/** `cut` resets the client's connection without a word. */
type Reply = Doc | 'cut';

/** Mind that drivers repeat a read by themselves once: see `times`. */
export interface MongoReplyRule extends Omit<ReplyRule<MongoCommand, Reply>, 'at'> {
  /** The n-th command from now on (1 = the next), or the commands of which this is true. Default 1. */
  readonly at?: number | ((command: MongoCommand) => boolean);
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
export class MongoReplyProxy extends ReplyRules<MongoCommand, Reply> {
  readonly url: string;
  readonly #pairs: SocketPairs;
  #count = 0;

  /** In front of what a MongoDB URL names; the proxy's own URL has the same database and options. */
  static async start(targetUrl: string): Promise<MongoReplyProxy> {
    const { hostname, port } = new URL(targetUrl);
    const server = { hostname, port: Number(port || 27017) };
    const pairs = await startSocketPairs(server, (client, upstream) => proxy.#join(client, upstream()));
    const proxy = new MongoReplyProxy(throughPort(targetUrl, pairs.port), pairs);
    return proxy;
  }

  private constructor(url: string, pairs: SocketPairs) {
    super();
    this.url = url;
    this.#pairs = pairs;
  }

  override replace({ at = 1, ...rule }: MongoReplyRule): PlacedRule<MongoCommand> {
    let seen = 0;
    const isNext = (from: number) => {
      seen += 1;
      return seen >= from;
    };
    return super.replace({ ...rule, at: typeof at === 'number' ? () => isNext(at) : at });
  }

  /** Resets all connections and takes no more. */
  stop(): Promise<void> {
    return this.#pairs.stop();
  }

  #join(client: Socket, upstream: Socket): void {
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

  #ruleFor({ body }: Request): ReplyRule<MongoCommand, Reply> | undefined {
    const name = Object.keys(body)[0] ?? '';
    if (unasked.has(name)) return undefined;
    this.#count += 1;
    return this.ruleFor({ number: this.#count, name, body });
  }
}

function answer(client: Socket, request: Request, reply: Reply): void {
  if (reply === 'cut') client.resetAndDestroy();
  else client.write(writeReply(request, reply));
}
