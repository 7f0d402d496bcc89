/** Wrong passwords that are heard out per window, from one address and from all together. */
export interface GuessBounds {
  readonly perAddress: number;
  readonly inAll: number;
  readonly windowMs: number;
}

/**
 * How many passwords may be guessed. Whoever is over a bound is not heard until the window ends, with a right
 * password neither: an answer that told right from wrong would go on serving guesses. Holds one number per address
 * that guessed wrong within the window, `inAll` of them at most.
 */
export class GuessLimit {
  readonly #bounds: GuessBounds;
  readonly #now: () => number;
  #wrong = new Map<string, number>();
  #total = 0;
  #since = Number.NEGATIVE_INFINITY;

  constructor(bounds: GuessBounds, now: () => number = () => performance.now()) {
    this.#bounds = bounds;
    this.#now = now;
  }

  /** Milliseconds until this address is heard again; 0 when it is heard now. */
  waitMs(address: string): number {
    const { perAddress, inAll, windowMs } = this.#bounds;
    const leftMs = this.#since + windowMs - this.#now();
    if (leftMs <= 0) return 0;
    const over = this.#total >= inAll || (this.#wrong.get(address) ?? 0) >= perAddress;
    return over ? leftMs : 0;
  }

  /** Counts a wrong password; returns how many this address has had in the window. */
  wrong(address: string): number {
    const now = this.#now();
    if (now - this.#since >= this.#bounds.windowMs) {
      this.#since = now;
      this.#wrong = new Map();
      this.#total = 0;
    }
    this.#total += 1;
    const count = (this.#wrong.get(address) ?? 0) + 1;
    this.#wrong.set(address, count);
    return count;
  }
}
