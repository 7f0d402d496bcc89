import type { Model, Schema, Types } from 'mongoose';
import type { SessionRef } from '../turn/stored-turn.ts';
import { versions } from '../turn/versions.ts';

/** The fields that a conversation gains, set together by compare-and-set. */
export interface OpenCodeSessionFields {
  opencodeSessionId?: string | null;
  /** Base URL of the server that minted the session: a session lives on one server. */
  opencodeServer?: string | null;
  /** Fingerprint of the permission rules that the session has. */
  opencodeRules?: string | null;
  /** The directory that the session works in, as the policy named it. */
  opencodeDirectory?: string | null;
  /** Since when its waiting turns are held, and by whom; null or absent when they are not. */
  opencodeHeldAt?: Date | null;
  opencodeHeldBy?: string | null;
  /** In which version the session's fields are stored. */
  opencodeSessionVersion?: number | null;
}

/** The statics that a model gains. */
export interface OpenCodeSessionStatics {
  /**
   * Stores `next` if the document still holds `expected` (null = no session, for either), with the schema's validators.
   * False when it holds another one, or one that a newer release has stored, or does not exist. Throws what Mongoose throws: E11000 when another
   * document has this session.
   */
  swapOpencodeSession(
    id: Types.ObjectId | Types.UUID | string | number | bigint,
    expected: string | null,
    next: SessionRef | null,
  ): Promise<boolean>;
}

/** Any schema, whatever it has been told of its documents and whichever copy of Mongoose it comes from. */
export interface PluggableSchema {
  add(fields: never): unknown;
  index(fields: never): unknown;
  static(name: never, fn: never): unknown;
}

/**
 * Mongoose plugin that lets documents of any model own an upstream session: `tripSchema.plugin(opencodeSession)`.
 * The unique index is partial: any number of documents may have no session, no two may share one. Indexes are
 * built by `ensureIndexes`, never by connecting.
 */
export function opencodeSession(given: PluggableSchema): void {
  const schema = given as Schema;
  schema.add({
    opencodeSessionId: { type: String },
    opencodeServer: { type: String },
    opencodeRules: { type: String },
    opencodeDirectory: { type: String },
    opencodeHeldAt: { type: Date },
    opencodeHeldBy: { type: String },
    opencodeSessionVersion: { type: Number },
  });
  schema.index(
    { opencodeSessionId: 1 },
    {
      unique: true,
      name: 'opencode_session_unique',
      partialFilterExpression: { opencodeSessionId: { $type: 'string' } },
    },
  );
  schema.static('swapOpencodeSession', async function (
    this: Model<OpenCodeSessionFields>,
    _id,
    expected,
    next,
  ) {
    const result = await this.updateOne(
      // Null matches a missing field too: both mean "no session".
      { _id, opencodeSessionId: expected, ...readableSession() },
      {
        $set: {
          opencodeSessionId: next?.sessionId ?? null,
          opencodeServer: next?.server ?? null,
          opencodeRules: next?.rules ?? null,
          opencodeDirectory: next?.directory ?? null,
          opencodeSessionVersion: versions.session,
        },
      },
      { runValidators: true },
    );
    return result.matchedCount === 1;
  } satisfies (
    this: Model<OpenCodeSessionFields>,
    ...args: Parameters<OpenCodeSessionStatics['swapOpencodeSession']>
  ) => Promise<boolean>);
}

/**
 * Matches documents whose session data this release knows. Each version by its number: a host's Mongoose may take an operator for
 * a value.
 */
export const readableSession = () => ({
  $or: [null, ...Array.from({ length: versions.session }, (_, at) => at + 1)].map((version) => ({
    opencodeSessionVersion: version,
  })),
});

/** The session of a stored document, or undefined when it has none. */
export function sessionIn(document: OpenCodeSessionFields): SessionRef | undefined {
  const { opencodeSessionId: sessionId, opencodeServer: server } = document;
  const { opencodeRules: rules, opencodeDirectory: directory } = document;
  if (!sessionId || !server) return undefined;
  return { sessionId, server, ...(rules ? { rules } : {}), ...(directory ? { directory } : {}) };
}
