import { type Dispatcher, request } from 'undici';
import { AnswerTooLargeError, ConnectionError, TurnsError } from '../../errors.ts';
import type { WireEvent } from '../../reply/wire.ts';
import { type BackoffOptions, backoffMs } from '../../timing/backoff.ts';
import { type Clock, delay } from '../../timing/clock.ts';
import type { ServerAddress } from '../address.ts';
import { type Answer, meaningOf, problemOf } from '../answer.ts';
import { notAnswered } from '../ask.ts';
import { sseReader } from '../sse.ts';

export interface ConnectionTimes {
  /** From the request to `server.connected`. Default 10 s. */
  readonly connectMs: number;
  /** Silence after which a stream counts as dead; the server sends a heartbeat every 10 s. Default 30 s. */
  readonly silenceMs: number;
  readonly backoff: BackoffOptions;
}

export const defaultTimes: ConnectionTimes = {
  connectMs: 10_000,
  silenceMs: 30_000,
  backoff: { firstMs: 200, maxMs: 5_000, jitter: 0.3 },
};

export interface ConnectionSink {
  connected(): void;
  event(event: WireEvent): void;
  gap(error: unknown): void;
}

/**
 * One event connection to one directory of a server: opens, watches, and opens again until it is closed. Every
 * end is a gap, the clean one too (the server closes streams when it disposes an instance). The server keeps no
 * history, so what came in between is lost, and the sink is told.
 */
export class EventConnection {
  readonly #address: ServerAddress;
  readonly #directory: string;
  readonly #sink: ConnectionSink;
  readonly #times: ConnectionTimes;
  readonly #clock: Clock;
  readonly #closing = new AbortController();
  readonly #dispatcher: Dispatcher;
  readonly #running: Promise<void>;

  constructor(
    address: ServerAddress,
    directory: string,
    sink: ConnectionSink,
    times: ConnectionTimes,
    clock: Clock,
    dispatcher: Dispatcher,
  ) {
    this.#address = address;
    this.#directory = directory;
    this.#sink = sink;
    this.#times = times;
    this.#clock = clock;
    this.#dispatcher = dispatcher;
    this.#running = this.#run();
  }

  /** No stream, timer or call to the sink is left once this resolves. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    let tooLarge = 0;
    for (let failures = 0; !signal.aborted; failures += 1) {
      const error = await this.#once(() => {
        failures = 0;
      });
      if (signal.aborted) return;
      // Such a server connects well each time; it is asked less and less often all the same.
      tooLarge = error instanceof AnswerTooLargeError ? tooLarge + 1 : 0;
      this.#sink.gap(error);
      await delay(backoffMs(Math.max(failures, tooLarge), this.#times.backoff), this.#clock, signal).catch(
        () => undefined,
      );
    }
  }

  /** One connection from its request to its end; returns why it ended. */
  async #once(onConnected: () => void): Promise<unknown> {
    const facts = { method: 'GET', path: '/event' };
    const ended = new AbortController();
    const end = (why: string) => ended.abort(new ConnectionError(why, facts));
    const close = () => end('closed');
    this.#closing.signal.addEventListener('abort', close, { once: true });
    // Not put off by whatever else is sent before the server says that it is connected.
    let cancelWatchdog = this.#watch(this.#times.connectMs, () => end('not connected in time'));
    let connected = false;
    const reader = sseReader((data) => {
      const event = parse(data);
      if (!event || event.type === 'server.heartbeat') return;
      if (event.type !== 'server.connected') return this.#sink.event(event);
      connected = true;
      onConnected();
      this.#sink.connected();
    });
    try {
      const url = `${this.#address.server}/event?directory=${encodeURIComponent(this.#directory)}`;
      // Not by fetch: its streams weigh several times as much, and a worker holds one per live conversation.
      const { statusCode, headers, body } = await request(url, {
        dispatcher: this.#dispatcher,
        headers: { ...this.#address.headers, accept: 'text/event-stream' },
        signal: ended.signal,
      });
      checkAnswer(
        { status: statusCode, contentType: String(headers['content-type'] ?? ''), ...unread },
        facts,
      );
      for await (const bytes of body) {
        reader.push(bytes);
        if (!connected) continue;
        cancelWatchdog();
        cancelWatchdog = this.#watch(this.#times.silenceMs, () => end('silent for too long'));
      }
      return new ConnectionError('the server ended the stream', facts);
    } catch (error) {
      if (ended.signal.aborted) return ended.signal.reason;
      return error instanceof TurnsError ? error : notAnswered(error, facts, undefined);
    } finally {
      cancelWatchdog();
      this.#closing.signal.removeEventListener('abort', close);
      // An answer that nobody reads would keep its socket.
      close();
    }
  }

  #watch(ms: number, onPassed: () => void): () => void {
    return this.#clock.setTimer(ms, onPassed);
  }
}

/** The body of an answer that is no stream is not read. */
const unread = { body: new Uint8Array() };

function checkAnswer(answer: Answer, facts: { method: string; path: string }): void {
  const { meaning } = meaningOf(answer, 'events');
  if (meaning !== 'ok') throw problemOf(meaning, answer, facts);
}

/** A frame that is no event is left out: the next poll at the message list makes it good. */
function parse(data: string): WireEvent | undefined {
  try {
    const event: unknown = JSON.parse(data);
    if (typeof event !== 'object' || event === null || !('type' in event) || !('properties' in event))
      return undefined;
    if (typeof event.type !== 'string' || typeof event.properties !== 'object' || event.properties === null)
      return undefined;
    return event as WireEvent;
  } catch {
    return undefined;
  }
}
