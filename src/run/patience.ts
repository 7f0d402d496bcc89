import { isAmbiguous, isWrongAnswer, retryAfterMs } from '../errors.ts';
import type { BackoffOptions } from '../timing/backoff.ts';
import type { PersevereOptions } from '../timing/persevere.ts';
import type { TurnRun } from './turn-run.ts';

/**
 * Which failures of upstream are borne, and how long. One wrong answer proves nothing: whatever stands between us and
 * the server may have given it. Wrong answers without a good one in between, for `wrongAnswerTimeoutMs`, are what the
 * turn ends with. A server that is away is waited for as long as `ServerAbsence` allows.
 */
export class Patience {
  readonly #run: TurnRun;
  /** When the first wrong answer came since the last good one. */
  #since: number | undefined;

  constructor(run: TurnRun) {
    this.#run = run;
  }

  /** True while the same question may be asked again after this error. */
  bears(error: unknown): boolean {
    if (!isWrongAnswer(error)) return isAmbiguous(error);
    const now = this.#run.deps.clock.monotonicMs();
    this.#since ??= now;
    return now - this.#since < this.#run.policy.limits.wrongAnswerTimeoutMs;
  }

  /** A good answer came. */
  renew(): void {
    this.#since = undefined;
  }
}

const backoff: BackoffOptions = { firstMs: 200, maxMs: 5_000, jitter: 0.3 };

/** Options for one question that is asked until it is answered, with a patience of its own. */
export function patiently(run: TurnRun): PersevereOptions {
  const patience = new Patience(run);
  return {
    ...backoff,
    again: (error) => patience.bears(error),
    atLeastMs: retryAfterMs,
    clock: run.deps.clock,
  };
}
