import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { RespSplitter, wordsOf } from './resp.ts';

/** A command with its arguments; the name in lower case. */
export interface RedisCommand {
  readonly name: string;
  readonly args: readonly string[];
}

export interface RedisReplyRule {
  /** The commands of which this is true. */
  readonly at: (command: RedisCommand) => boolean;
  /** Whether Redis gets the command, and its reply is thrown away, or the command never arrives there. */
  readonly executed: boolean;
  /** The error that the client gets instead, from its code on. */
  readonly reply: string;
  /** How many commands are answered so. Default 1. */
  readonly times?: number;
}

export interface PlacedRedisRule {
  /** The commands that were answered by this rule. */
  readonly hits: readonly RedisCommand[];
}

/** What a client says by itself when it connects or leaves: neither counted nor replaced. */
const unasked = new Set(['hello', 'auth', 'client', 'select', 'info', 'command', 'ping', 'quit']);
const subscriptions = new Set(['subscribe', 'unsubscribe', 'psubscribe', 'punsubscribe']);

/** What becomes of one answer, in the order in which they are owed. `instead` alone: Redis was never asked. */
interface Owed {
  readonly asked: boolean;
  readonly instead?: string;
  readonly dropped?: boolean;
}

interface Placed {
  readonly rule: RedisReplyRule;
  readonly hits: RedisCommand[];
}

/**
 * A proxy in front of a Redis that replaces single answers by errors, before Redis has executed the command or after:
 * what a full, loading, read-only or misled Redis says. Answers come in the order of the commands on a connection, so
 * each command owes one; what is pushed to subscribers is no answer. A transaction is answered as a whole, at `EXEC`.
 */
export class RedisReplyProxy {
  readonly url: string;
  /** Every command since the start, in the order of its coming. May be emptied. */
  readonly commands: RedisCommand[] = [];
  readonly #server: Server;
  readonly #target: URL;
  readonly #sockets = new Set<Socket>();
  #rules: Placed[] = [];

  static async start(target: string): Promise<RedisReplyProxy> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new RedisReplyProxy(target, server);
  }

  private constructor(target: string, server: Server) {
    this.#server = server;
    this.#target = new URL(target);
    const { port } = server.address() as AddressInfo;
    this.url = target.replace(/(:\/\/(?:[^@/]*@)?)[^/?]+/, `$1127.0.0.1:${port}`);
    server.on('connection', (client) => this.#join(client));
  }

  /** Rules are asked in the order in which they were placed; the first that wants a command gets it. */
  replace(rule: RedisReplyRule): PlacedRedisRule {
    const placed: Placed = { rule, hits: [] };
    this.#rules.push(placed);
    return placed;
  }

  /** Forgets every rule. */
  clear(): void {
    this.#rules = [];
  }

  /** Resets all connections and takes no more. */
  async stop(): Promise<void> {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #join(client: Socket): void {
    const upstream = connect(Number(this.#target.port || 6379), this.#target.hostname);
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
    const owed: Owed[] = [];
    /** What Redis was never asked is answered as soon as everything before it is. */
    const settle = () => {
      while (owed[0]?.asked === false) client.write(`-${owed.shift()?.instead}\r\n`);
    };
    const commands = new RespSplitter();
    let inTransaction = false;
    client.on('data', (chunk: Buffer) => {
      for (const message of commands.push(chunk)) {
        const [name = '', ...args] = wordsOf(message);
        const command = { name: name.toLowerCase(), args };
        if (command.name === 'exec' || command.name === 'discard') inTransaction = false;
        const rule = inTransaction ? undefined : this.#ruleFor(command);
        if (command.name === 'multi') inTransaction = true;
        const answers = subscriptions.has(command.name) ? Math.max(args.length, 1) : 1;
        if (rule && !rule.executed && command.name !== 'exec') {
          owed.push({ asked: false, instead: rule.reply });
          continue;
        }
        upstream.write(rule && !rule.executed ? '*1\r\n$7\r\nDISCARD\r\n' : message);
        owed.push(rule ? { asked: true, instead: rule.reply } : { asked: true });
        for (let more = 1; more < answers; more += 1) owed.push({ asked: true, dropped: rule !== undefined });
      }
      settle();
    });
    const replies = new RespSplitter();
    upstream.on('data', (chunk: Buffer) => {
      for (const value of replies.push(chunk)) {
        if (isPushed(value)) {
          client.write(value);
          continue;
        }
        const { instead, dropped } = owed.shift() ?? {};
        if (instead !== undefined) client.write(`-${instead}\r\n`);
        else if (!dropped) client.write(value);
        settle();
      }
    });
  }

  #ruleFor(command: RedisCommand): RedisReplyRule | undefined {
    if (unasked.has(command.name)) return undefined;
    this.commands.push(command);
    const placed = this.#rules.find(({ rule, hits }) => hits.length < (rule.times ?? 1) && rule.at(command));
    placed?.hits.push(command);
    return placed?.rule;
  }
}

/** A message to a subscriber, in either protocol; the answer to a subscription looks like one. */
function isPushed(value: Buffer): boolean {
  const type = String.fromCharCode(value[0] ?? 0);
  if (type !== '>' && type !== '*') return false;
  const [kind = '', , , more] = wordsOf(value);
  if (type === '>') return !subscriptions.has(kind);
  return (kind === 'message' && more === undefined) || kind === 'pmessage';
}
