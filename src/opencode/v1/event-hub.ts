import { Agent, type Dispatcher } from 'undici';
import { AnswerTooLargeError, ForeignAnswerError } from '../../errors.ts';
import type { ErrorReporter } from '../../instrumentation/error-reporter.ts';
import type { WireEvent } from '../../reply/wire.ts';
import { type Clock, systemClock } from '../../timing/clock.ts';
import type { ServerAddress } from '../address.ts';
import type { ServerProbe } from '../probe.ts';
import { maxHeaderBytes } from '../transport.ts';
import { sessionOf } from './decode.ts';
import { type ConnectionTimes, defaultTimes, EventConnection } from './event-connection.ts';
import type { EventFeed, FeedSink, FeedSubscription } from './server.ts';

export interface EventHubOptions {
  readonly address: ServerAddress;
  readonly reporter: ErrorReporter;
  /** Told when a stream is answered by what is no OpenCode. */
  readonly probe?: Pick<ServerProbe, 'doubt'>;
  readonly clock?: Clock;
  readonly times?: Partial<ConnectionTimes>;
  /** How long a connection stays open when nobody listens: the next turn of the directory finds it live. Default 30 s. */
  readonly lingerMs?: number;
}

/**
 * The events of one server for a whole process: one connection per directory while anybody listens, each frame
 * parsed once and handed to the sinks of its session. A sink that throws is reported and hurts nobody else.
 */
export class EventHub implements EventFeed {
  readonly #options: EventHubOptions;
  readonly #directories = new Map<string, DirectoryEvents>();
  // A silent stream is legal here: our own watchdog decides, not the client's 300 s. As many sockets as streams.
  readonly #agent = new Agent({
    bodyTimeout: 0,
    headersTimeout: 0,
    connectTimeout: 10_000,
    maxHeaderSize: maxHeaderBytes,
  });

  constructor(options: EventHubOptions) {
    this.#options = options;
  }

  /** Connections that are open now. */
  get size(): number {
    return this.#directories.size;
  }

  subscribe(directory: string, sessionIds: readonly string[], sink: FeedSink): FeedSubscription {
    let events = this.#directories.get(directory);
    if (!events) {
      const onEmpty = () => this.#directories.delete(directory);
      events = new DirectoryEvents(directory, this.#options, this.#agent, onEmpty);
      this.#directories.set(directory, events);
    }
    return events.subscribe(sessionIds, sink);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#directories.values()].map((events) => events.close()));
    await this.#agent.destroy();
  }
}

interface Subscriber {
  readonly sink: FeedSink;
  readonly sessions: Set<string>;
  readonly waiting: Set<(error?: unknown) => void>;
}

class DirectoryEvents {
  readonly #reporter: ErrorReporter;
  readonly #probe: Pick<ServerProbe, 'doubt'> | undefined;
  readonly #directory: string;
  readonly #onEmpty: () => void;
  readonly #connection: EventConnection;
  readonly #subscribers = new Set<Subscriber>();
  readonly #bySession = new Map<string, Set<Subscriber>>();
  readonly #clock: Clock;
  readonly #lingerMs: number;
  #live = false;
  #lastError: unknown;
  #toldTooLarge = false;
  #cancelLinger: () => void = () => undefined;

  constructor(
    directory: string,
    { address, reporter, probe, clock = systemClock, times, lingerMs = 30_000 }: EventHubOptions,
    dispatcher: Dispatcher,
    onEmpty: () => void,
  ) {
    this.#reporter = reporter;
    this.#probe = probe;
    this.#directory = directory;
    this.#clock = clock;
    this.#lingerMs = lingerMs;
    this.#onEmpty = onEmpty;
    const sink = {
      connected: () => this.#connected(),
      event: (event: WireEvent) => this.#event(event),
      gap: (error: unknown) => this.#gap(error),
    };
    const allTimes = { ...defaultTimes, ...times };
    this.#connection = new EventConnection(address, directory, sink, allTimes, clock, dispatcher);
  }

  subscribe(sessionIds: readonly string[], sink: FeedSink): FeedSubscription {
    const subscriber: Subscriber = { sink, sessions: new Set(), waiting: new Set() };
    this.#cancelLinger();
    this.#subscribers.add(subscriber);
    for (const id of sessionIds) this.#add(subscriber, id);
    if (this.#live) this.#tell(() => sink.connected());
    return {
      ready: (signal) => this.#ready(subscriber, signal),
      add: (sessionId) => this.#add(subscriber, sessionId),
      close: () => this.#remove(subscriber),
    };
  }

  async close(): Promise<void> {
    for (const subscriber of this.#subscribers) this.#remove(subscriber);
    this.#end();
    await this.#connection.close();
  }

  #ready(subscriber: Subscriber, signal: AbortSignal | undefined): Promise<void> {
    if (this.#live) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const settle = (error?: unknown) => {
        subscriber.waiting.delete(settle);
        signal?.removeEventListener('abort', onAbort);
        if (error === undefined) resolve();
        else reject(error);
      };
      const onAbort = () => settle(this.#lastError ?? signal?.reason);
      subscriber.waiting.add(settle);
      signal?.addEventListener('abort', onAbort, { once: true });
      if (signal?.aborted) onAbort();
    });
  }

  #connected(): void {
    this.#live = true;
    this.#lastError = undefined;
    for (const subscriber of this.#subscribers) {
      this.#tell(() => subscriber.sink.connected());
      for (const settle of [...subscriber.waiting]) settle();
    }
  }

  #gap(error: unknown): void {
    this.#live = false;
    this.#lastError = error;
    if (error instanceof ForeignAnswerError) this.#probe?.doubt();
    if (error instanceof AnswerTooLargeError && !this.#toldTooLarge) {
      this.#toldTooLarge = true;
      const facts = { severity: 'warning', directory: this.#directory } as const;
      this.#reporter.report(error, { action: 'event-hub.stream', ...facts });
    }
    for (const subscriber of this.#subscribers) this.#tell(() => subscriber.sink.gap(error));
  }

  #event(event: WireEvent): void {
    const sessionId = sessionOf(event);
    // A new session may be the child of any that somebody follows.
    const all = sessionId === undefined || event.type === 'session.created';
    const sinks = all ? this.#subscribers : this.#bySession.get(sessionId);
    if (!sinks) return;
    for (const subscriber of sinks) this.#tell(() => subscriber.sink.event(event));
  }

  #add(subscriber: Subscriber, sessionId: string): void {
    if (!this.#subscribers.has(subscriber)) return;
    subscriber.sessions.add(sessionId);
    const sinks = this.#bySession.get(sessionId);
    if (sinks) sinks.add(subscriber);
    else this.#bySession.set(sessionId, new Set([subscriber]));
  }

  #remove(subscriber: Subscriber): void {
    if (!this.#subscribers.delete(subscriber)) return;
    for (const id of subscriber.sessions) {
      const sinks = this.#bySession.get(id);
      sinks?.delete(subscriber);
      if (sinks?.size === 0) this.#bySession.delete(id);
    }
    const closed = new Error('the subscription was closed');
    for (const settle of [...subscriber.waiting]) settle(closed);
    if (this.#subscribers.size > 0) return;
    this.#cancelLinger = this.#clock.setTimer(this.#lingerMs, () => this.#end());
  }

  #end(): void {
    this.#cancelLinger();
    this.#onEmpty();
    void this.#connection.close();
  }

  #tell(call: () => void): void {
    try {
      call();
    } catch (error) {
      this.#reporter.report(error, { action: 'event-hub.sink' });
    }
  }
}
