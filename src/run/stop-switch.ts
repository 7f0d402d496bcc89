import { type AbortReason, OwnershipLostError, TurnAbortError } from '../errors.ts';

/** How one run is asked to end, by whomever, and why it was. */
export class StopSwitch {
  readonly #controller = new AbortController();
  readonly #letGo: AbortSignal;
  /** Aborts with a TurnAbortError, for whatever reason comes first. */
  readonly signal: AbortSignal;

  /** `letGo` aborts with TurnAbortError `shutdown` or `ownership-lost` when the worker must let go of the turn. */
  constructor(letGo: AbortSignal) {
    this.#letGo = letGo;
    this.signal = AbortSignal.any([letGo, this.#controller.signal]);
  }

  /** Asks the run to end. The first reason wins. */
  stop(reason: AbortReason, detail?: string, cause?: unknown): void {
    this.#controller.abort(new TurnAbortError(reason, detail, { cause }));
  }

  /** Why the run was stopped, or undefined while it was not. Letting go wins over every other reason. */
  get reason(): TurnAbortError | undefined {
    const signal = this.#letGo.aborted ? this.#letGo : this.#controller.signal;
    if (!signal.aborted) return undefined;
    return signal.reason instanceof TurnAbortError ? signal.reason : new TurnAbortError('ownership-lost');
  }

  /** True when the run must let go without another word, also for this error: somebody else owns the turn, or will. */
  mustLetGo(error: unknown): boolean {
    if (error instanceof OwnershipLostError) return true;
    const reason = this.reason?.reason;
    return reason === 'shutdown' || reason === 'ownership-lost';
  }
}
