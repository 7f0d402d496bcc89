import { isAmbiguous, isWrongAnswer, retryAfterMs, ServerError, UnsupportedServerError } from '../errors.ts';
import type { BackoffOptions } from '../timing/backoff.ts';
import type { PersevereOptions } from '../timing/persevere.ts';
import { promptIds } from '../turn/phase.ts';
import type { TurnRun } from './turn-run.ts';

/** What of a run is touched here. */
type Run = Pick<TurnRun, 'absence' | 'deps' | 'policy' | 'submission' | 'turn'>;

/**
 * Which failures of one question to upstream are borne, and how long. One wrong answer proves nothing: whatever stands
 * between us and the server may have given it. Wrong answers without a good one to the same question in between, for
 * `wrongAnswerTimeoutMs`, are what the turn ends with. A server that fails (5xx), hangs up or says nothing gives such
 * ones while it answers other questions; one that is away as a whole, or restarts, is waited for as long as
 * `ServerAbsence` allows. One that speaks another protocol gives wrong answers while a run of this turn may be upstream:
 * something in between may lead elsewhere for a moment. Before that, it is refused at once.
 */
export class Patience {
  readonly #run: Run;
  /** When the first wrong answer came since the last good one. */
  #since: number | undefined;
  /** How many good answers, to whatever question, had come when this one failed last. */
  #answers: number;

  constructor(run: Run) {
    this.#run = run;
    this.#answers = run.absence.answers;
  }

  /** True while the same question may be asked again after this error. */
  bears(error: unknown): boolean {
    const wrong = isWrongAnswer(error) || (error instanceof UnsupportedServerError && mayRun(this.#run));
    if (!wrong && !isAmbiguous(error)) return false;
    const { absence, deps, policy } = this.#run;
    const elsewhere = absence.answers > this.#answers;
    this.#answers = absence.answers;
    // Nothing was answered since this was asked last: the time that a server is away counts for its absence alone.
    if (!wrong && !elsewhere) this.#since = undefined;
    if (!wrong && !(elsewhere && isFailing(error))) return true;
    const now = deps.clock.monotonicMs();
    this.#since ??= now;
    return now - this.#since < policy.limits.wrongAnswerTimeoutMs;
  }

  /** A good answer came. */
  renew(): void {
    this.#since = undefined;
  }
}

function mayRun({ submission, turn }: Run): boolean {
  return submission.ids !== undefined || promptIds(turn.run) !== undefined;
}

/** Of the answers that leave open what happened. A server that asks for patience (408, 425, 429) works. */
function isFailing(error: unknown): boolean {
  return !(error instanceof ServerError) || (error.facts.status ?? 0) >= 500;
}

const backoff: BackoffOptions = { firstMs: 200, maxMs: 5_000, jitter: 0.3 };

/** Options for one question that is asked until it is answered, with a patience of its own. */
export function patiently(run: Run): PersevereOptions {
  const patience = new Patience(run);
  return {
    ...backoff,
    again: (error) => patience.bears(error),
    atLeastMs: retryAfterMs,
    clock: run.deps.clock,
  };
}
