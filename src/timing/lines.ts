import { type Clock, delay, systemClock } from './clock.ts';

/** What a caller hands to the one behind him. */
export interface Served<T, Hint> {
  readonly result: T;
  readonly hint?: Hint | undefined;
}

export interface LinesOptions {
  /** Callers in one line at once; whoever comes after that is refused. */
  readonly maxWaiting?: number;
  /** A line that does not move for so long is left by all who wait in it: whoever is at its head hangs. */
  readonly stuckMs?: number;
  /** Whether all who wait would meet the same: they leave the line then, and meet it at once and not one after the other. */
  readonly breaksUp?: (error: unknown) => boolean;
  readonly clock?: Clock;
}

interface Line<Hint> {
  readonly waiting: ((inTurn: boolean) => void)[];
  movedAt: number;
  served: number;
  hint: Hint | undefined;
}

/** After so many callers in a row, others than this process get a chance, which is as long as a few of its calls. */
const inARow = 16;
const pauseMs = 10;

/**
 * Callers of one key, one after the other in the order in which they came: those of one process do not race one
 * another for what only one can have. Each is told what the one in front of him left. A line is kept as long as somebody is in it.
 */
export class Lines<Hint> {
  readonly #lines = new Map<string, Line<Hint>>();
  readonly #maxWaiting: number;
  readonly #stuckMs: number;
  readonly #breaksUp: (error: unknown) => boolean;
  readonly #clock: Clock;

  constructor({
    maxWaiting = 2_000,
    stuckMs = 10_000,
    breaksUp = () => false,
    clock = systemClock,
  }: LinesOptions = {}) {
    this.#breaksUp = breaksUp;
    this.#maxWaiting = maxWaiting;
    this.#stuckMs = stuckMs;
    this.#clock = clock;
  }

  /** Runs `work` when everybody in front has ended, or the line is given up. Throws what `full` returns, and what `work` throws. */
  async run<T>(
    key: string,
    work: (hint: Hint | undefined) => Promise<Served<T, Hint>>,
    full: () => Error,
  ): Promise<T> {
    const known = this.#lines.get(key);
    if (known && known.waiting.length >= this.#maxWaiting) throw full();
    const line = known ?? { waiting: [], movedAt: this.#clock.monotonicMs(), served: 0, hint: undefined };
    if (!known) this.#lines.set(key, line);
    else if (!(await this.#reached(line))) return (await work(undefined)).result;
    try {
      const { result, hint } = await work(line.hint);
      line.hint = hint;
      return result;
    } catch (error) {
      line.hint = undefined;
      if (this.#breaksUp(error)) for (const go of line.waiting.splice(0)) go(false);
      throw error;
    } finally {
      void this.#next(key, line);
    }
  }

  /** False when the line was stuck or has broken up: the caller has left it. */
  #reached(line: Line<Hint>): Promise<boolean> {
    return new Promise((resolve) => {
      let cancel = (): void => undefined;
      const go = (inTurn: boolean) => {
        cancel();
        resolve(inTurn);
      };
      const look = () => {
        const leftMs = line.movedAt + this.#stuckMs - this.#clock.monotonicMs();
        if (leftMs > 0) {
          cancel = this.#clock.setTimer(leftMs, look, { ref: true });
          return;
        }
        line.waiting.splice(line.waiting.indexOf(go), 1);
        resolve(false);
      };
      line.waiting.push(go);
      cancel = this.#clock.setTimer(this.#stuckMs, look, { ref: true });
    });
  }

  async #next(key: string, line: Line<Hint>): Promise<void> {
    line.served += 1;
    line.movedAt = this.#clock.monotonicMs();
    if (line.served % inARow === 0 && line.waiting.length > 0)
      await delay(pauseMs * Math.random(), this.#clock);
    const go = line.waiting.shift();
    if (go) go(true);
    else this.#lines.delete(key);
  }
}
