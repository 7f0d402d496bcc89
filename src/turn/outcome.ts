import type { FileRef } from '../artifacts/attachment.ts';
import type { Usage } from '../reply/part.ts';
import type { TurnFailure, TurnNotice } from './stored-turn.ts';

/** What every finished turn tells. Both times in ms from the first claim; what it had waited before is not in them. */
export interface TurnResult {
  readonly turnId: string;
  readonly conversationId: string;
  readonly sessionId: string | undefined;
  readonly text: string;
  readonly usage: Usage;
  readonly artifacts: readonly FileRef[];
  readonly notice?: TurnNotice;
  readonly durationMs: number;
  readonly timeToFirstTokenMs: number | undefined;
}

/**
 * How carrying a turn ended. The first three are terminal and stored. `interrupted` is not: the turn is still
 * pending, its upstream run goes on, and the next owner adopts it.
 */
export type TurnOutcome =
  | ({ readonly status: 'completed' } & TurnResult)
  /** With an error when its run could not be seen to end (`cancel_unconfirmed`). */
  | ({ readonly status: 'cancelled'; readonly error?: TurnFailure } & TurnResult)
  | ({ readonly status: 'error'; readonly error: TurnFailure } & TurnResult)
  | {
      readonly status: 'interrupted';
      readonly turnId: string;
      readonly reason: 'shutdown' | 'ownership-lost' | 'service-unavailable';
      readonly cause?: unknown;
    };
