import { sessionOf } from '../opencode/v1/decode.ts';
import type { EventFeed, FeedSink, FeedSubscription } from '../opencode/v1/server.ts';
import type { WireEvent } from '../reply/wire.ts';
import { unlessAborted } from '../timing/unless-aborted.ts';

interface Subscriber {
  readonly directory: string;
  readonly sessions: Set<string>;
  readonly sink: FeedSink;
  live: boolean;
  heard: () => void;
  readonly ready: Promise<void>;
}

/** The event stream of a scripted server: live at once while the server is there. */
export class ScriptedFeed implements EventFeed {
  readonly #subscribers = new Set<Subscriber>();
  #away: unknown;

  subscribe(directory: string, sessionIds: readonly string[], sink: FeedSink): FeedSubscription {
    let heard = (): void => undefined;
    const ready = new Promise<void>((resolve) => {
      heard = resolve;
    });
    const subscriber: Subscriber = {
      directory,
      sessions: new Set(sessionIds),
      sink,
      live: false,
      heard,
      ready,
    };
    this.#subscribers.add(subscriber);
    queueMicrotask(() => this.#connect(subscriber));
    return {
      ready: (signal) => unlessAborted(ready, signal),
      add: (sessionId) => void subscriber.sessions.add(sessionId),
      close: () => void this.#subscribers.delete(subscriber),
    };
  }

  emit(directory: string, event: WireEvent): void {
    const session = sessionOf(event);
    for (const { live, sink, sessions, directory: listened } of [...this.#subscribers]) {
      if (!live || listened !== directory) continue;
      const isWanted = session === undefined || event.type === 'session.created' || sessions.has(session);
      if (isWanted) sink.event(event);
    }
  }

  /** Broken with that error, until `comeBack`. */
  goAway(error: unknown): void {
    this.#away = error;
    for (const subscriber of [...this.#subscribers]) {
      if (subscriber.live) subscriber.sink.gap(error);
      subscriber.live = false;
    }
  }

  comeBack(): void {
    this.#away = undefined;
    for (const subscriber of [...this.#subscribers]) this.#connect(subscriber);
  }

  #connect(subscriber: Subscriber): void {
    if (this.#away !== undefined || subscriber.live || !this.#subscribers.has(subscriber)) return;
    subscriber.live = true;
    subscriber.sink.connected();
    subscriber.heard();
  }
}
