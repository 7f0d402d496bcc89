import type { StopRef } from '../turn/stored-turn.ts';

export interface OpenStop {
  readonly turnId: string;
  readonly recordId: string;
  readonly stops: readonly StopRef[];
  /** When the turn ended, or was created while it has not; Unix ms. */
  readonly since: number;
}

/** Runs upstream that turns have aborted and not seen to end. Errors: `ServiceUnavailableError('mongodb')`. */
export interface StopStore {
  /** Those of one turn, one record, or all; at most `limit` turns, the one that was tried last comes last. */
  open(filter: {
    readonly turnId?: string;
    readonly recordId?: string;
    readonly limit: number;
  }): Promise<readonly OpenStop[]>;
  /** Aborted once more, in vain: others come first now. */
  tried(turnId: string): Promise<void>;
  /** It was seen to be over, or nobody tries any more. Idempotent. */
  close(turnId: string, stop: StopRef): Promise<void>;
}
