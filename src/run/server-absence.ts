import { isAmbiguous, TurnsError } from '../errors.ts';
import type { Upstream } from '../ports/upstream.ts';
import type { Clock } from '../timing/clock.ts';
import { leftOf } from '../timing/deadline.ts';

/** A server that answers again within this time was hardly away: nobody is told. */
export const tellAfterMs = 1_000;

export interface ServerAbsenceOptions {
  readonly clock: Clock;
  /** How long the server may be away in one piece. */
  readonly limitMs: number;
  /** How long it has been away, ms, when that began under an earlier owner and nobody has seen it back. */
  readonly awayForMs?: () => number | undefined;
  /** It has been away for a second: whoever follows the turn should know why nothing happens. */
  readonly onAway: () => void;
  /** It is back, after `onAway` or after it was away for somebody before. */
  readonly onBack: () => void;
  /** It was away for `limitMs`. */
  readonly onLimit: (error: TurnsError) => void;
}

/**
 * Whether the OpenCode server answers one turn, by what becomes of its requests. One that fails without an answer begins
 * an absence, one that is answered, refusals included, ends it.
 */
export class ServerAbsence {
  readonly #options: ServerAbsenceOptions;
  readonly #watched = new WeakMap<Upstream, Upstream>();
  #error: TurnsError | undefined;
  #told = false;
  #closed = false;
  #cancelTimers: (() => void)[] = [];
  #answers = 0;
  #failures = 0;

  constructor(options: ServerAbsenceOptions) {
    this.#options = options;
  }

  /** The last failure, while the server is away. */
  get error(): TurnsError | undefined {
    return this.#error;
  }

  /** How many requests the server has answered well. */
  get answers(): number {
    return this.#answers;
  }

  /** How many requests the server has not answered. */
  get failures(): number {
    return this.#failures;
  }

  /** The same server, what becomes of whose requests is noticed here. */
  watch(upstream: Upstream): Upstream {
    let watched = this.#watched.get(upstream);
    if (!watched) {
      watched = upstream.noticedBy({
        answered: () => {
          this.#answers += 1;
          this.#answered();
        },
        failed: (error) => {
          if (isAmbiguous(error)) this.#failed(error as TurnsError);
          else if (isRefusal(error)) this.#answered();
        },
      });
      this.#watched.set(upstream, watched);
    }
    return watched;
  }

  /** No timer is left after this, and nobody is told anything any more. */
  close(): void {
    this.#closed = true;
    this.#clearTimers();
  }

  #failed(error: TurnsError): void {
    this.#failures += 1;
    const begins = this.#error === undefined;
    this.#error = error;
    if (!begins || this.#closed) return;
    const { clock, limitMs, awayForMs, onAway, onLimit } = this.#options;
    const leftMs = leftOf(limitMs, awayForMs?.() ?? 0);
    const tell = () => {
      this.#told = true;
      onAway();
    };
    this.#cancelTimers = [
      clock.setTimer(tellAfterMs, tell),
      clock.setTimer(leftMs, () => onLimit(this.#error ?? error)),
    ];
  }

  #answered(): void {
    this.#error = undefined;
    this.#clearTimers();
    if (this.#closed || (!this.#told && this.#options.awayForMs?.() === undefined)) return;
    this.#told = false;
    this.#options.onBack();
  }

  #clearTimers(): void {
    for (const cancel of this.#cancelTimers) cancel();
    this.#cancelTimers = [];
  }
}

/** The server has said no, which is an answer; an abort of our own is none. */
function isRefusal(error: unknown): boolean {
  return error instanceof TurnsError && 'facts' in error;
}
