import type { StopRef } from '../turn/stored-turn.ts';

export interface OpenStop {
  readonly turnId: string;
  readonly conversationId: string;
  readonly stops: readonly StopRef[];
  /** When the turn ended; while it has not, when it was prompted last, or created; Unix ms. */
  readonly since: number;
}

/** Runs upstream that turns have aborted and not seen to end. Errors: `ServiceUnavailableError('mongodb')`. */
export interface StopStore {
  /**
   * Those of one turn, one conversation, one session, or all; at most `limit` turns, the one that was tried last comes last.
   * What a newer release has stored is not among them; with `sessionId`, which then must not be prompted, it throws
   * NewerVersionError.
   */
  open(filter: {
    readonly turnId?: string;
    readonly conversationId?: string;
    readonly sessionId?: string;
    readonly limit: number;
  }): Promise<readonly OpenStop[]>;
  /** Aborted once more, in vain, or not to be had: others come first now. */
  tried(turnId: string): Promise<void>;
  /**
   * It was seen to be over, or nobody tries any more. Without `stop`: a turn is forgotten that has none open any more,
   * since who closed the last one died before he was done. Idempotent.
   */
  close(turnId: string, stop?: StopRef): Promise<void>;
}
