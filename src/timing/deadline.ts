import { type Clock, systemClock } from './clock.ts';

/**
 * A limit on inactivity: `touch` starts it anew, `suspend` stops it (while a person is asked), `resume` starts
 * it anew. Holds no timer; whoever waits asks `remainingMs` and looks again after that time.
 */
export class InactivityLimit {
  readonly limitMs: number;
  readonly #clock: Clock;
  #since: number;
  #suspended = false;

  constructor(limitMs: number, clock: Clock = systemClock) {
    this.limitMs = limitMs;
    this.#clock = clock;
    this.#since = clock.monotonicMs();
  }

  touch(): void {
    this.#since = this.#clock.monotonicMs();
  }

  /** While suspended the limit cannot pass; after it, the whole time is granted again. */
  setSuspended(suspended: boolean): void {
    if (this.#suspended && !suspended) this.touch();
    this.#suspended = suspended;
  }

  get remainingMs(): number {
    if (this.#suspended) return Number.POSITIVE_INFINITY;
    return this.limitMs - (this.#clock.monotonicMs() - this.#since);
  }

  get passed(): boolean {
    return this.remainingMs <= 0;
  }
}
