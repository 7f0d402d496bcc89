import { type Clock, systemClock } from './clock.ts';

/** What a new owner asks first may need so long: a server is restarted with its workers. */
const newOwnerMs = 30_000;

/**
 * What is left of a limit for an owner who comes when so much has passed of it, ms. Never less than a moment to see for
 * himself; whatever dies in a row then is bounded by the turn's own limit, which knows no such moment.
 */
export function leftOf(limitMs: number, passedMs: number): number {
  return Math.max(Math.min(limitMs, newOwnerMs), limitMs - Math.max(0, passedMs));
}

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
    this.begin(0);
  }

  /** Starts it anew, with so much of it passed under an earlier owner. */
  begin(passedMs: number): void {
    this.#since = this.#clock.monotonicMs() - this.limitMs + leftOf(this.limitMs, passedMs);
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
