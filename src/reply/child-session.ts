import type { Part } from './part.ts';

/**
 * A sub-agent's session. `callId` and `partId` name the task part that started it, once that is known: the first
 * of the turn, when a later one gives the same sub-agent more to do.
 */
export interface ChildSession {
  readonly sessionId: string;
  /** The session that started it: the turn's own, or another child. */
  readonly parentId: string | undefined;
  readonly callId: string | undefined;
  readonly partId: string | undefined;
  readonly parts: readonly Part[];
}
