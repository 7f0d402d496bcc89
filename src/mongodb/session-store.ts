import type { Model } from 'mongoose';
import { ConflictError, NotFoundError } from '../errors.ts';
import type { ConversationSession, SessionStore } from '../ports/session-store.ts';
import type { SessionRef } from '../turn/stored-turn.ts';
import { assertReadable } from '../turn/versions.ts';
import { ConversationIds } from './conversation-ids.ts';
import { checkConversationModel } from './conversation-model.ts';
import { mongoCall } from './errors.ts';
import {
  type OpenCodeSessionFields,
  type OpenCodeSessionStatics,
  readableSession,
} from './opencode-session-plugin.ts';
import { settled } from './settled.ts';

type OwnerDoc = OpenCodeSessionFields & { _id: unknown; title?: unknown };
type OwnerModel = Model<OwnerDoc> & OpenCodeSessionStatics;

/** SessionStore on any model with the `opencodeSession` plugin. Throws InvalidConfigError for a model without it. */
export class MongoSessionStore implements SessionStore {
  readonly collection: string;
  readonly #conversations: OwnerModel;
  readonly #ids: ConversationIds;

  constructor(conversations: Model<never>) {
    this.#ids = new ConversationIds(checkConversationModel(conversations));
    this.#conversations = conversations as unknown as OwnerModel;
    this.collection = conversations.collection.collectionName;
  }

  session(conversationId: string): Promise<ConversationSession> {
    return mongoCall(async () => {
      const conversation = await this.#conversations
        .findOne({ _id: this.#ids.key(conversationId) })
        .lean<OwnerDoc>();
      if (!conversation || !this.#ids.isOf(conversationId, conversation._id))
        throw new NotFoundError('conversation', conversationId);
      assertReadable('session', conversationId, conversation.opencodeSessionVersion);
      return {
        sessionId: conversation.opencodeSessionId ?? null,
        server: conversation.opencodeServer ?? null,
        rules: conversation.opencodeRules ?? null,
        directory: conversation.opencodeDirectory ?? null,
        title: typeof conversation.title === 'string' ? conversation.title : '',
      };
    });
  }

  stored(sessionIds: readonly string[]): Promise<ReadonlySet<string>> {
    return mongoCall(async () => {
      if (sessionIds.length === 0) return new Set();
      const found = await this.#conversations
        // Not `$in`, which a host's Mongoose may take for a value, whatever a single query asks of it.
        .find({ $or: sessionIds.map((sessionId) => ({ opencodeSessionId: String(sessionId) })) })
        .select({ opencodeSessionId: 1 })
        .lean<OwnerDoc[]>();
      return new Set(found.flatMap(({ opencodeSessionId }) => opencodeSessionId ?? []));
    });
  }

  noteRules(
    conversationId: string,
    seen: string | undefined,
    { sessionId, rules }: SessionRef,
  ): Promise<void> {
    return mongoCall(async () => {
      const session = this.#sessionOf(conversationId, sessionId);
      const unchanged = { ...session, opencodeRules: seen ?? null };
      const { matchedCount } = await this.#conversations.updateOne(unchanged, {
        $set: { opencodeRules: rules },
      });
      if (matchedCount === 0) await this.#conversations.updateOne(session, { $unset: { opencodeRules: 1 } });
    });
  }

  noteDirectory(conversationId: string, { sessionId, directory }: SessionRef): Promise<void> {
    return mongoCall(async () => {
      const session = this.#sessionOf(conversationId, sessionId);
      await this.#conversations.updateOne(session, { $set: { opencodeDirectory: directory } });
    });
  }

  swap(conversationId: string, expected: string | null, next: SessionRef | null): Promise<boolean> {
    return mongoCall(async () => {
      const _id = this.#ids.key(conversationId);
      const swapped = await settled(
        () => this.#conversations.swapOpencodeSession(_id, expected, next),
        async () => {
          // Of a session that is forgotten: also when somebody else has done it.
          if (next === null)
            return (await this.#conversations.exists({ _id, opencodeSessionId: null })) ? true : undefined;
          const holds = { opencodeSessionId: next.sessionId };
          const holder = await this.#conversations.findOne(holds).select({ _id: 1 }).lean<OwnerDoc>();
          if (!holder) return undefined;
          if (this.#ids.isOf(conversationId, holder._id)) return true;
          throw new ConflictError('another conversation has this session', ['opencodeSessionId']);
        },
      );
      if (swapped) return true;
      if (!(await this.#conversations.exists({ _id })))
        throw new NotFoundError('conversation', conversationId);
      return false;
    });
  }

  /** The conversation while it holds that session, stored in a version that this release may change. */
  #sessionOf(conversationId: string, sessionId: string) {
    return { _id: this.#ids.key(conversationId), opencodeSessionId: sessionId, ...readableSession() };
  }
}
