import { type Clock, systemClock } from './clock.ts';

/**
 * A bound on one call: `signal` aborts with the given one, with its reason, or when the time is over. `end` lets go
 * of the timer and of the other signal at once; `AbortSignal.timeout` and `AbortSignal.any` keep theirs until the
 * time is over or the collector comes, which for a thousand turns is a heap of dead signals. And on Node 20 a timeout
 * that nobody holds but an `any` is collected with its timer, so that it never comes: `AbortSignal.timeout` is not used.
 */
export class TimeLimit {
  readonly #controller = new AbortController();
  readonly #from: AbortSignal | undefined;
  readonly #cancelTimer: () => void;
  #passed = false;

  constructor(ms: number, from?: AbortSignal, clock: Clock = systemClock) {
    this.#from = from;
    this.#cancelTimer = clock.setTimer(ms, () => {
      this.#passed = true;
      this.#controller.abort(new DOMException(`over after ${ms} ms`, 'TimeoutError'));
    });
    from?.addEventListener('abort', this.#follow, { once: true });
    if (from?.aborted) this.#follow();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** The time was over before anything else. */
  get passed(): boolean {
    return this.#passed;
  }

  end(): void {
    this.#cancelTimer();
    this.#from?.removeEventListener('abort', this.#follow);
  }

  readonly #follow = () => {
    this.#cancelTimer();
    this.#controller.abort(this.#from?.reason);
  };
}

/**
 * Runs `fn` under a limit of its own, which nothing is left of when it has ended. To be made anew for each call that
 * must be tried: under one that is shared, the last call may find the time over and fail without having been made.
 */
export async function within<T>(
  ms: number,
  fn: (signal: AbortSignal) => Promise<T>,
  from?: AbortSignal,
  clock: Clock = systemClock,
): Promise<T> {
  const limit = new TimeLimit(ms, from, clock);
  try {
    return await fn(limit.signal);
  } finally {
    limit.end();
  }
}
