import type { Socket } from 'node:net';
import { ReplyRules } from './reply-rules.ts';
import { RespSplitter, wordsOf } from './resp.ts';
import { type SocketPairs, startSocketPairs, throughPort } from './socket-pairs.ts';

/** A command with its arguments; the name in lower case. */
export interface RedisCommand {
  readonly name: string;
  readonly args: readonly string[];
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

/**
 * A proxy in front of a Redis that replaces single answers by errors, before Redis has executed the command or after:
 * what a full, loading, read-only or misled Redis says. Answers come in the order of the commands on a connection, so
 * each command owes one (an error, from its code on); what is pushed to subscribers is no answer. A transaction is answered as a whole, at `EXEC`.
 */
export class RedisReplyProxy extends ReplyRules<RedisCommand, string> {
  readonly url: string;
  readonly #pairs: SocketPairs;

  static async start(target: string): Promise<RedisReplyProxy> {
    const { hostname, port } = new URL(target);
    const server = { hostname, port: Number(port || 6379) };
    const pairs = await startSocketPairs(server, (client, upstream) => proxy.#join(client, upstream()));
    const proxy = new RedisReplyProxy(throughPort(target, pairs.port), pairs);
    return proxy;
  }

  private constructor(url: string, pairs: SocketPairs) {
    super();
    this.url = url;
    this.#pairs = pairs;
  }

  /** Resets all connections and takes no more. */
  stop(): Promise<void> {
    return this.#pairs.stop();
  }

  #join(client: Socket, upstream: Socket): void {
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
        const passes = inTransaction || unasked.has(command.name);
        const rule = passes ? undefined : this.ruleFor(command);
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
}

/** A message to a subscriber, in either protocol; the answer to a subscription looks like one. */
function isPushed(value: Buffer): boolean {
  const type = String.fromCharCode(value[0] ?? 0);
  if (type !== '>' && type !== '*') return false;
  const [kind = '', , , more] = wordsOf(value);
  if (type === '>') return !subscriptions.has(kind);
  return (kind === 'message' && more === undefined) || kind === 'pmessage';
}
