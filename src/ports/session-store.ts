import type { SessionRef } from '../turn/stored-turn.ts';

/** The conversation's session, as Session needs it. */
export interface SessionStore {
  /** The collection of the conversations. */
  readonly collection: string;
  /** Throws NotFoundError, NewerVersionError. */
  session(conversationId: string): Promise<ConversationSession>;
  /**
   * Compare-and-set: stores `next` (null = none) if the conversation still holds `expected` (null = none). False when it does
   * not, or holds one that a newer release has stored.
   * Throws NotFoundError when the conversation is gone, ConflictError when the session id belongs to another conversation.
   */
  swap(conversationId: string, expected: string | null, next: SessionRef | null): Promise<boolean>;
  /**
   * Stores `session.rules` if the conversation still holds that session with the rules that were `seen`. Somebody else may have
   * changed them meanwhile: then nobody knows what is in force, and that is stored.
   */
  noteRules(conversationId: string, seen: string | undefined, session: SessionRef): Promise<void>;
  /** Stores `session.directory` if the conversation still holds that session. */
  noteDirectory(conversationId: string, session: SessionRef): Promise<void>;
  /** Those of the ids that some conversation holds. */
  stored(sessionIds: readonly string[]): Promise<ReadonlySet<string>>;
}

export interface ConversationSession {
  readonly sessionId: string | null;
  readonly server: string | null;
  readonly rules?: string | null;
  readonly directory?: string | null;
  readonly title: string;
}
