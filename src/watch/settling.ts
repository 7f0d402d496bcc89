import type { Exchange } from '../reply/exchange.ts';
import { startGraceMs } from '../stop/stop-turn.ts';
import type { Clock } from '../timing/clock.ts';
import type { Verdict } from './verdict.ts';

/** Verdicts that only time makes final. */
export type OpenVerdict = Extract<
  Verdict,
  { kind: 'working' | 'unsettled' | 'empty' | 'aborted' | 'doubtful' }
>;

/** A status that says busy although the messages say that all is over, and no idle was heard, has so long to change. */
const doubtMs = 10_000;
/** An abort of somebody else's: the stream tells soon after it when the whole instance was disposed. */
const abortedMs = 1_000;

/**
 * How long upstream has been idle without an end. Idle alone proves nothing: a run begins some time after its prompt
 * was accepted, and its last message is complete some time after the first idle. What stays as it is over two polls
 * and the time that such things take will not change any more.
 */
export class Settling {
  readonly #lostAfterMs: number;
  readonly #clock: Clock;
  #since: number | undefined;
  #polls = 0;
  #about: About = 'idle';

  constructor(lostAfterMs: number, clock: Clock) {
    this.#lostAfterMs = lostAfterMs;
    this.#clock = clock;
  }

  /** Wait between polls while it may still settle: 25, 50, 100, 200, 400, 500 … ms; undefined while upstream works. */
  get pauseMs(): number | undefined {
    return this.#since === undefined ? undefined : Math.min(25 * 2 ** Math.min(this.#polls, 10), 500);
  }

  /**
   * True when it will stay like that. `movedAt`: when the run was heard to move last, on the same clock: a status that
   * says idle meanwhile lies.
   */
  stays(verdict: OpenVerdict, exchange: Exchange, movedAt = Number.NEGATIVE_INFINITY): boolean {
    const now = this.#clock.monotonicMs();
    if (verdict.kind === 'working') {
      this.#since = undefined;
      return false;
    }
    const about = aboutOf(verdict);
    if (about === 'idle' && this.#since !== undefined && movedAt > this.#since) {
      this.#since = now;
      this.#polls = 0;
    }
    if (this.#since === undefined || about !== this.#about) {
      this.#since = now;
      this.#polls = 0;
      this.#about = about;
    }
    this.#polls += 1;
    return this.#polls >= 2 && now - this.#since >= this.#graceMs(verdict, exchange);
  }

  #graceMs(verdict: OpenVerdict, exchange: Exchange): number {
    if (verdict.kind === 'aborted') return abortedMs;
    if (verdict.kind === 'doubtful' && !verdict.idleSeen) return Math.max(this.#lostAfterMs, doubtMs);
    const soon = this.#about !== 'idle' || exchange.begun;
    return soon ? this.#lostAfterMs : Math.max(this.#lostAfterMs, startGraceMs);
  }
}

/** What is being waited for: each has its own time. */
type About = 'idle' | 'failing' | 'aborted' | 'doubtful';

function aboutOf(verdict: OpenVerdict): About {
  if (verdict.kind === 'aborted' || verdict.kind === 'doubtful') return verdict.kind;
  return verdict.kind === 'unsettled' && verdict.failure !== undefined ? 'failing' : 'idle';
}
