import type { OpenVerdict } from '../ports/verdict.ts';
import type { Clock } from '../timing/clock.ts';

/**
 * How long upstream has shown the same without an end. One reading proves nothing. What stays as it is over two polls and
 * the time that such things take will not change any more.
 */
export class Settling {
  readonly #lostAfterMs: number;
  readonly #clock: Clock;
  #since: number | undefined;
  #polls = 0;
  #about: About = 'unsettled';

  constructor(lostAfterMs: number, clock: Clock) {
    this.#lostAfterMs = lostAfterMs;
    this.#clock = clock;
  }

  /** Wait between polls while it may still settle: 25, 50, 100, 200, 400, 500 … ms; undefined while upstream works. */
  get pauseMs(): number | undefined {
    return this.#since === undefined ? undefined : Math.min(25 * 2 ** Math.min(this.#polls, 10), 500);
  }

  /**
   * True when it will stay like that. `settleMs`: the least that upstream takes to change it. `movedAt`: when the run was
   * heard to move last, on the same clock: whoever says idle meanwhile lies.
   */
  stays(verdict: OpenVerdict, settleMs: number, movedAt = Number.NEGATIVE_INFINITY): boolean {
    const now = this.#clock.monotonicMs();
    if (verdict.kind === 'working') {
      this.#since = undefined;
      return false;
    }
    const about = aboutOf(verdict);
    if (about === 'unsettled' && this.#since !== undefined && movedAt > this.#since) {
      this.#since = now;
      this.#polls = 0;
    }
    if (this.#since === undefined || about !== this.#about) {
      this.#since = now;
      this.#polls = 0;
      this.#about = about;
    }
    this.#polls += 1;
    return this.#polls >= 2 && now - this.#since >= this.#graceMs(verdict, settleMs);
  }

  /** An abort is final soon: no run comes after it. */
  #graceMs({ kind }: OpenVerdict, settleMs: number): number {
    return kind === 'aborted' ? settleMs : Math.max(this.#lostAfterMs, settleMs);
  }
}

/** What is being waited for: each has its own time. */
type About = 'unsettled' | 'failing' | 'aborted' | 'doubtful';

function aboutOf(verdict: OpenVerdict): About {
  if (verdict.kind === 'aborted' || verdict.kind === 'doubtful') return verdict.kind;
  return verdict.kind === 'unsettled' && verdict.failure !== undefined ? 'failing' : 'unsettled';
}
