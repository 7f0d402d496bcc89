import { type Clock, systemClock } from './clock.ts';

/**
 * A sleep that somebody else can end. A wake that comes while nobody waits is kept, so that the gap between
 * looking and waiting loses nothing; several wakes before a wait count as one.
 */
export class Wakeup {
  readonly #clock: Clock;
  #pending = false;
  #resume: (() => void) | undefined;

  constructor(clock: Clock = systemClock) {
    this.#clock = clock;
  }

  wake(): void {
    this.#pending = true;
    this.#resume?.();
  }

  /** True at the next wake, false after `ms` without one; rejects with the signal's reason. One waiter at a time. */
  async wait(ms: number, signal?: AbortSignal): Promise<boolean> {
    signal?.throwIfAborted();
    if (!this.#pending) await this.#sleep(ms, signal);
    const woken = this.#pending;
    this.#pending = false;
    signal?.throwIfAborted();
    return woken;
  }

  #sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        cancel();
        signal?.removeEventListener('abort', done);
        this.#resume = undefined;
        resolve();
      };
      const cancel = this.#clock.setTimer(ms, done, { ref: true });
      signal?.addEventListener('abort', done, { once: true });
      this.#resume = done;
    });
  }
}
