import type { Exchange } from '../reply/exchange.ts';
import type { Clock } from '../timing/clock.ts';
import { InactivityLimit } from '../timing/deadline.ts';
import type { TurnLimits } from '../turn/limits.ts';

/**
 * Whether the model's run has begun and still moves, by what events and polls tell; the stream may be mute while
 * the run goes on. Two limits follow each other: `firstEventTimeoutMs` until the first sign, `idleTimeoutMs` from
 * then on. Time in which a person is asked, or upstream cannot be asked, does not count.
 */
export class StallWatch {
  readonly #limits: TurnLimits;
  readonly #clock: Clock;
  #limit: InactivityLimit;
  #started = false;
  #seen = '';

  constructor(limits: TurnLimits, clock: Clock) {
    this.#limits = limits;
    this.#clock = clock;
    this.#limit = new InactivityLimit(limits.firstEventTimeoutMs, clock);
  }

  /** Some sign of the run was there. */
  get started(): boolean {
    return this.#started;
  }

  get passed(): boolean {
    return this.#limit.passed;
  }

  get limitMs(): number {
    return this.#limit.limitMs;
  }

  get remainingMs(): number {
    return this.#limit.remainingMs;
  }

  /** The whole time again: upstream was away. */
  renew(): void {
    this.#limit.touch();
  }

  /** What is followed begins now, or has waited for its first sign for so long under an earlier owner. */
  begin(passedMs: number): void {
    if (this.#started) this.renew();
    else this.#limit.begin(passedMs);
  }

  setSuspended(suspended: boolean): void {
    this.#limit.setSuspended(suspended);
  }

  /** Upstream shows more than the last time, or works at all. Returns whether this was the first sign. */
  read(exchange: Exchange, busy: boolean): boolean {
    const shown = outlineOf(exchange);
    const news = shown !== this.#seen || (busy && !this.#started);
    this.#seen = shown;
    return news && this.moved();
  }

  /** Returns whether this was the first sign. */
  moved(): boolean {
    const first = !this.#started;
    this.#started = true;
    if (first) this.#limit = new InactivityLimit(this.#limits.idleTimeoutMs, this.#clock);
    else this.#limit.touch();
    return first;
  }
}

/** Changes with every message, part, text and tool call that is new or goes on; empty before the answer. */
function outlineOf({ assistants, parts }: Exchange): string {
  const sizes = parts.map((part) => (part.type === 'tool' ? part.status : part.text.length));
  return [...assistants.map(({ info }) => info.id), ...sizes].join();
}
