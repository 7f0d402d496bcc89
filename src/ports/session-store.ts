import type { SessionRef } from '../turn/stored-turn.ts';

/** The record's session, as Session needs it. */
export interface SessionStore {
  session(recordId: string): Promise<RecordSession>;
  /**
   * Compare-and-set: stores `next` if the record still holds `expected` (null = none). False when it does not.
   * Throws NotFoundError when the record is gone, ConflictError when the session id belongs to another record.
   */
  swap(recordId: string, expected: string | null, next: SessionRef): Promise<boolean>;
  /**
   * Stores `session.rules` if the record still holds that session with the rules that were `seen`. Somebody else may have
   * changed them meanwhile: then nobody knows what is in force, and that is stored.
   */
  noteRules(recordId: string, seen: string | undefined, session: SessionRef): Promise<void>;
  /** Those of the ids that some record holds. */
  stored(sessionIds: readonly string[]): Promise<ReadonlySet<string>>;
}

export interface RecordSession {
  readonly sessionId: string | null;
  readonly server: string | null;
  readonly rules?: string | null;
  readonly title: string;
}
