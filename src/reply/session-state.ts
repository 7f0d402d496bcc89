import type { ReplyObservers } from './reply-observer.ts';
import type { WireError, WireSessionStatus } from './wire.ts';

/** What a session says of itself: its status, upstream's retries, and its last error. */
export class SessionState {
  readonly #observers: ReplyObservers;
  #status: WireSessionStatus | undefined;
  #lastError: WireError | undefined;

  constructor(observers: ReplyObservers) {
    this.#observers = observers;
  }

  /** Undefined before the first was seen. */
  get status(): WireSessionStatus | undefined {
    return this.#status;
  }

  get lastError(): WireError | undefined {
    return this.#lastError;
  }

  statusSeen(status: WireSessionStatus): void {
    const before = this.#status;
    this.#status = status;
    if (status.type !== 'retry') return;
    if (before?.type === 'retry' && before.attempt === status.attempt) return;
    const { attempt, message, next } = status;
    this.#observers.tell('sessionRetried', { attempt, message, nextAt: next });
  }

  errorSeen(error: WireError | undefined): void {
    this.#lastError = error;
    const message: unknown = error?.data?.message;
    const text = typeof message === 'string' ? message : (error?.name ?? 'unknown error');
    this.#observers.tell('sessionErrored', text, error);
  }
}
