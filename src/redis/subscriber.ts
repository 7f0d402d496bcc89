import type { Redis } from 'ioredis';
import type { ErrorReporter } from '../instrumentation/error-reporter.ts';

/** A subscriber is owed nothing, so nobody would notice that its connection is dead: it asks from time to time. */
const pingMs = 10_000;
/** A subscription that was refused is asked for again, as long as somebody listens. */
const subscribeAgainMs = 2_000;

/** Called without a message when messages may have been missed. */
export type MessageListener = (message?: string) => void;

/**
 * One subscriber connection for a whole process: any number of listeners, by channel. Redis forgets messages
 * while the connection is away, so a listener must also look by itself from time to time.
 */
export class Subscriber {
  readonly #subscriber: Redis;
  readonly #reporter: ErrorReporter;
  readonly #listeners = new Map<string, Set<MessageListener>>();

  constructor(subscriber: Redis, reporter: ErrorReporter) {
    this.#subscriber = subscriber;
    this.#reporter = reporter;
    subscriber.on('message', (channel: string, message: string) => this.#tell(channel, message));
    const pings = setInterval(() => {
      // Asked while it is away, it would keep every question for later.
      if (subscriber.status === 'ready') subscriber.ping().catch(() => undefined);
    }, pingMs).unref();
    subscriber.once('end', () => clearInterval(pings));
    // After a reconnect anything may have been missed.
    subscriber.on('ready', () => {
      for (const channel of this.#listeners.keys()) this.#tell(channel);
    });
  }

  /** Calls `listener` with each message on the channel, until the returned function is called. */
  listen(channel: string, listener: MessageListener): () => void {
    const listeners = this.#listeners.get(channel) ?? new Set();
    if (listeners.size === 0) {
      this.#listeners.set(channel, listeners);
      this.#subscribe(channel);
    }
    listeners.add(listener);
    return () => {
      if (!listeners.delete(listener) || listeners.size > 0) return;
      this.#listeners.delete(channel);
      this.#send(this.#subscriber.unsubscribe(channel), channel);
    };
  }

  #subscribe(channel: string): void {
    // What was said before Redis took the subscription was said to nobody: whoever looked meanwhile looks again.
    const sent = this.#subscriber.subscribe(channel).then(() => this.#tell(channel));
    this.#send(sent, channel);
    sent.catch(() => {
      setTimeout(() => {
        if (this.#listeners.has(channel) && this.#subscriber.status !== 'end') this.#subscribe(channel);
      }, subscribeAgainMs).unref();
    });
  }

  #tell(channel: string, message?: string): void {
    for (const listener of this.#listeners.get(channel) ?? []) listener(message);
  }

  #send(sent: Promise<unknown>, channel: string): void {
    sent.catch((error) => {
      if (this.#subscriber.status === 'end') return;
      this.#reporter.report(error, { action: 'redis.subscribe', severity: 'warning', channel });
    });
  }
}
