import type { Schema } from 'mongoose';

/** The fields that a record gains. Both are set together, by compare-and-set. */
export interface OpenCodeSessionFields {
  opencodeSessionId?: string | null;
  /** Base URL of the server that minted the session: a session lives on one server. */
  opencodeServer?: string | null;
}

/**
 * Mongoose plugin that lets documents of any model own an upstream session: `tripSchema.plugin(opencodeSession)`.
 * The unique index is partial: any number of documents may have no session, no two may share one. Indexes are
 * built by `ensureIndexes`, never by connecting.
 */
export function opencodeSession(schema: Schema): void {
  schema.add({
    opencodeSessionId: { type: String },
    opencodeServer: { type: String },
  });
  schema.index(
    { opencodeSessionId: 1 },
    {
      unique: true,
      name: 'opencode_session_unique',
      partialFilterExpression: { opencodeSessionId: { $type: 'string' } },
    },
  );
}
