import type { Redis } from 'ioredis';
import type { ErrorReporter } from '../instrumentation/error-reporter.ts';
import type { TurnNudges } from '../turn/ports.ts';

/**
 * One subscriber connection for a whole process: any number of listeners, by channel. Redis forgets messages
 * while the connection is away, so a listener must also look by itself from time to time.
 */
export class Nudges {
  readonly #subscriber: Redis;
  readonly #reporter: ErrorReporter;
  readonly #listeners = new Map<string, Set<() => void>>();

  constructor(subscriber: Redis, reporter: ErrorReporter) {
    this.#subscriber = subscriber;
    this.#reporter = reporter;
    subscriber.on('message', (channel: string) => this.#tell(channel));
    // After a reconnect anything may have been missed.
    subscriber.on('ready', () => {
      for (const channel of this.#listeners.keys()) this.#tell(channel);
    });
  }

  /** Calls `listener` after each message on the channel, until the returned function is called. */
  listen(channel: string, listener: () => void): () => void {
    const listeners = this.#listeners.get(channel) ?? new Set();
    if (listeners.size === 0) {
      this.#listeners.set(channel, listeners);
      this.#send(this.#subscriber.subscribe(channel), channel);
    }
    listeners.add(listener);
    return () => {
      if (!listeners.delete(listener) || listeners.size > 0) return;
      this.#listeners.delete(channel);
      this.#send(this.#subscriber.unsubscribe(channel), channel);
    };
  }

  #tell(channel: string): void {
    for (const listener of this.#listeners.get(channel) ?? []) listener();
  }

  #send(sent: Promise<unknown>, channel: string): void {
    sent.catch((error) => {
      if (this.#subscriber.status === 'end') return;
      this.#reporter.report(error, { action: 'nudges.subscribe', severity: 'warning', channel });
    });
  }
}

/** Wishes of people (cancel, answer) reach the worker that owns the turn on a channel of the turn. */
export const wishChannel = (prefix: string, turnId: string): string => `${prefix}:wish:{${turnId}}`;

export function wishNudges(nudges: Nudges, prefix: string): TurnNudges {
  return { listen: (turnId, changed) => nudges.listen(wishChannel(prefix, turnId), changed) };
}
