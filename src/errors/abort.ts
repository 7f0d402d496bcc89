import { TurnsError } from './turns-error.ts';

/** Why a turn's signal was aborted. `shutdown` and `ownership-lost` leave the run upstream alone, the others abort it. */
export type AbortReason =
  | 'user'
  | 'shutdown'
  | 'ownership-lost'
  | 'deadline'
  | 'budget'
  | 'no-progress'
  | 'answered-elsewhere';

/** The reason of a turn's AbortSignal. `detail` names the limit that was crossed, for `deadline` and `budget`. */
export class TurnAbortError extends TurnsError {
  readonly code = 'turn_aborted';
  readonly disposition = 'cancelled';
  readonly reason: AbortReason;
  readonly detail: string | undefined;
  constructor(reason: AbortReason, detail?: string, options?: { cause?: unknown }) {
    super(detail === undefined ? `turn aborted: ${reason}` : `turn aborted: ${reason} (${detail})`, options);
    this.reason = reason;
    this.detail = detail;
  }
}
