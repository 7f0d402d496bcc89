import { IllegalStateError, TurnAbortError } from '../errors.ts';
import type { Clock } from '../timing/clock.ts';
import { Wakeup } from '../timing/wakeup.ts';
import type { WorkerState } from './running-worker.ts';

interface Held {
  readonly controller: AbortController;
  readonly turnId: string;
}

/** How long turns that were let go may take to store what they have and to give back their job. */
const letGoMs = 5_000;

/** How one worker left its turns, by id. */
export interface Leaving {
  /** Given back: whoever takes them next goes on at once. */
  readonly handedBack: readonly string[];
  /** Not given back in time, since a service does not answer: they go on once the lock on their job has run out. */
  readonly left: readonly string[];
}

/** The turns that one worker has, and how it leaves them. */
export class HeldTurns {
  readonly #clock: Clock;
  readonly #held = new Set<Held>();
  readonly #ended: Wakeup;
  #state: WorkerState = 'running';

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#ended = new Wakeup(clock);
  }

  get state(): WorkerState {
    return this.#state;
  }

  get size(): number {
    return this.#held.size;
  }

  /**
   * Runs `fn` for that turn. Its signal aborts with TurnAbortError: `ownership-lost` when `lost` aborts, `shutdown` when we
   * leave before it has ended.
   */
  async hold<T>(turnId: string, fn: (signal: AbortSignal) => Promise<T>, lost?: AbortSignal): Promise<T> {
    const controller = new AbortController();
    const onLost = () => controller.abort(new TurnAbortError('ownership-lost'));
    lost?.addEventListener('abort', onLost);
    const held = { controller, turnId };
    this.#held.add(held);
    try {
      return await fn(controller.signal);
    } finally {
      lost?.removeEventListener('abort', onLost);
      this.#held.delete(held);
      this.#ended.wake();
    }
  }

  /** No more are taken. Returns false when that was so before. */
  quiet(): boolean {
    if (this.#state !== 'running') return false;
    this.#state = 'quiet';
    return true;
  }

  /**
   * Turns may end until `graceMs` are over; the rest is let go at once. Resolves with the ids of those when nothing runs
   * any more, at the latest after `letGoMs`. Throws IllegalStateError the second time.
   */
  async leave(graceMs: number): Promise<Leaving> {
    if (this.#state === 'stopped') throw new IllegalStateError('stop', this.#state);
    this.#state = 'stopped';
    await this.#noneLeft(graceMs);
    const running = [...this.#held];
    for (const { controller } of running) controller.abort(new TurnAbortError('shutdown'));
    await this.#noneLeft(letGoMs);
    const ids = (given: boolean) =>
      running.filter((held) => this.#held.has(held) !== given).map(({ turnId }) => turnId);
    return { handedBack: ids(true), left: ids(false) };
  }

  async #noneLeft(withinMs: number): Promise<void> {
    const end = this.#clock.monotonicMs() + withinMs;
    for (let leftMs = withinMs; this.#held.size > 0 && leftMs > 0; leftMs = end - this.#clock.monotonicMs())
      await this.#ended.wait(leftMs);
  }
}
