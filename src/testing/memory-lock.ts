import { LockHeldError } from '../errors.ts';
import type { Lock } from '../ports/lock.ts';
import type { Clock } from '../timing/clock.ts';
import { Wakeup } from '../timing/wakeup.ts';

/** Who holds what, and who waits; what several locks share is one. */
export class MemoryLeases {
  readonly held = new Set<string>();
  readonly waiting = new Set<Wakeup>();
}

/** A lock within this process, which is never lost. */
export class MemoryLock implements Lock {
  readonly #leases: MemoryLeases;
  readonly #clock: Clock;
  readonly #waitMs: number;

  constructor(clock: Clock, waitMs = 15_000, leases = new MemoryLeases()) {
    this.#leases = leases;
    this.#clock = clock;
    this.#waitMs = waitMs;
  }

  async run<T>(key: string, fn: (signal: AbortSignal) => Promise<T>, signal?: AbortSignal): Promise<T> {
    await this.#acquire(key, signal);
    try {
      signal?.throwIfAborted();
      return await fn(signal ?? new AbortController().signal);
    } finally {
      this.#leases.held.delete(key);
      for (const waiter of this.#leases.waiting) waiter.wake();
    }
  }

  async #acquire(key: string, signal: AbortSignal | undefined): Promise<void> {
    const until = this.#clock.monotonicMs() + this.#waitMs;
    const wakeup = new Wakeup(this.#clock);
    this.#leases.waiting.add(wakeup);
    try {
      while (this.#leases.held.has(key)) {
        const leftMs = until - this.#clock.monotonicMs();
        if (leftMs <= 0) throw new LockHeldError(key);
        await wakeup.wait(leftMs, signal);
      }
      this.#leases.held.add(key);
    } finally {
      this.#leases.waiting.delete(wakeup);
    }
  }
}
