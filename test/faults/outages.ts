import { HttpReplyProxy } from '../support/http-reply-proxy.ts';
import { MongoReplyProxy } from '../support/mongo-reply-proxy.ts';
import { RedisReplyProxy } from '../support/redis-reply-proxy.ts';
import type { TestSystem } from '../support/system.ts';
import { startTcpProxy, type TcpProxy, through } from '../support/tcp-proxy.ts';
import { type ServiceName, services } from './chunk-labels.ts';
import { type Answers, httpAnswers, mongoAnswers, redisAnswers } from './reply-answers.ts';

/** What a worker meets on its way to one service: a wire that is cut or swallows everything, then wrong answers. */
interface Way {
  readonly url: string;
  readonly wire: TcpProxy;
  readonly answers: Answers;
  readonly stop: () => Promise<void>;
}

export type Kind = 'cut' | 'frozen' | 'errors' | 'killed';
export interface Outage {
  readonly service: ServiceName;
  readonly kind: Kind;
  /** Of `errors`: what every answer says. */
  readonly reply: string;
  readonly forMs: number;
}

/** Everything between a worker and its services, to be taken away and brought back. */
export class Outages {
  readonly urls: Readonly<Record<ServiceName, string>>;
  readonly #system: TestSystem;
  readonly #ways: Readonly<Record<ServiceName, Way>>;

  static async start(system: TestSystem): Promise<Outages> {
    const { redis, mongo } = system.options;
    const proxies = await Promise.all([
      RedisReplyProxy.start(redis),
      MongoReplyProxy.start(mongo),
      HttpReplyProxy.start(system.opencode.url),
    ]);
    const answers = [redisAnswers(proxies[0]), mongoAnswers(proxies[1]), httpAnswers(proxies[2])];
    const ways = await Promise.all(
      proxies.map(async (proxy, at): Promise<[string, Way]> => {
        const wire = await startTcpProxy(proxy.url);
        const stop = async () => {
          await wire.stop();
          await proxy.stop();
        };
        const url = through(wire, proxy.url);
        return [services[at] as string, { url, wire, answers: answers[at] as Answers, stop }];
      }),
    );
    return new Outages(system, Object.fromEntries(ways) as Record<ServiceName, Way>);
  }

  private constructor(system: TestSystem, ways: Readonly<Record<ServiceName, Way>>) {
    this.#system = system;
    this.#ways = ways;
    this.urls = { redis: ways.redis.url, mongo: ways.mongo.url, opencode: ways.opencode.url };
  }

  /** One at random. A killed OpenCode comes back with its data; the others lose theirs, so they are cut off instead. */
  chosen(random: () => number): Outage {
    const among = <T>(items: readonly T[]) => items[Math.floor(random() * items.length)] as T;
    const service = among(services);
    const kind = among<Kind>(['cut', 'frozen', 'errors', service === 'opencode' ? 'killed' : 'cut']);
    const forMs = 1_000 + Math.floor(random() * 9_000);
    return { service, kind, forMs, reply: among(this.#ways[service].answers.replies) };
  }

  /** Takes the service away for that long; resolves when it is back. */
  async happen({ service, kind, forMs, reply }: Outage): Promise<void> {
    const { wire, answers } = this.#ways[service];
    answers.forget();
    if (kind === 'killed') return this.#system.opencode.restart();
    if (kind === 'cut') wire.cut();
    if (kind === 'frozen') wire.freeze();
    if (kind === 'errors') answers.replaceAll(reply);
    await new Promise((resolve) => setTimeout(resolve, forMs));
    answers.forget();
    wire.restore();
  }

  async stop(): Promise<void> {
    await Promise.all(Object.values(this.#ways).map((way) => way.stop()));
  }
}
