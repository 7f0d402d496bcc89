import type { Model, Types } from 'mongoose';
import { ConflictError, InvalidConfigError, NotFoundError } from '../errors.ts';
import type { RecordSession, SessionStore } from '../ports/session-store.ts';
import type { SessionRef } from '../turn/stored-turn.ts';
import { mongoCall } from './errors.ts';
import { recordKey } from './object-id.ts';
import type { OpenCodeSessionFields, OpenCodeSessionStatics } from './opencode-session-plugin.ts';
import { settled } from './settled.ts';

type RecordDoc = OpenCodeSessionFields & { _id: Types.ObjectId; title?: unknown };
type RecordModel = Model<RecordDoc> & OpenCodeSessionStatics;

/** SessionStore on any model with the `opencodeSession` plugin. Throws InvalidConfigError for a model without it. */
export class MongoSessionStore implements SessionStore {
  readonly #records: RecordModel;

  constructor(records: Model<never>) {
    this.#records = records as unknown as RecordModel;
    if (typeof this.#records.swapOpencodeSession === 'function') return;
    const problem = `model "${records.modelName}" cannot own a session; add schema.plugin(opencodeSession) before the model is made`;
    throw new InvalidConfigError('record', problem);
  }

  session(recordId: string): Promise<RecordSession> {
    return mongoCall(async () => {
      const record = await this.#records.findOne({ _id: recordKey(recordId) }).lean<RecordDoc>();
      if (!record) throw new NotFoundError('record', recordId);
      return {
        sessionId: record.opencodeSessionId ?? null,
        server: record.opencodeServer ?? null,
        rules: record.opencodeRules ?? null,
        title: typeof record.title === 'string' ? record.title : '',
      };
    });
  }

  stored(sessionIds: readonly string[]): Promise<ReadonlySet<string>> {
    return mongoCall(async () => {
      if (sessionIds.length === 0) return new Set();
      const found = await this.#records
        // Not `$in`, which a host's Mongoose may take for a value, whatever a single query asks of it.
        .find({ $or: sessionIds.map((sessionId) => ({ opencodeSessionId: String(sessionId) })) })
        .select({ opencodeSessionId: 1 })
        .lean<RecordDoc[]>();
      return new Set(found.flatMap(({ opencodeSessionId }) => opencodeSessionId ?? []));
    });
  }

  noteRules(recordId: string, seen: string | undefined, { sessionId, rules }: SessionRef): Promise<void> {
    return mongoCall(async () => {
      const session = { _id: recordKey(recordId), opencodeSessionId: sessionId };
      const unchanged = { ...session, opencodeRules: seen ?? null };
      const { matchedCount } = await this.#records.updateOne(unchanged, { $set: { opencodeRules: rules } });
      if (matchedCount === 0) await this.#records.updateOne(session, { $unset: { opencodeRules: 1 } });
    });
  }

  swap(recordId: string, expected: string | null, next: SessionRef): Promise<boolean> {
    return mongoCall(async () => {
      const _id = recordKey(recordId);
      const holds = { opencodeSessionId: next.sessionId };
      const swapped = await settled(
        () => this.#records.swapOpencodeSession(_id, expected, next),
        async () => {
          const holder = await this.#records.findOne(holds).select({ _id: 1 }).lean<RecordDoc>();
          if (!holder || String(holder._id) === _id) return holder ? true : undefined;
          throw new ConflictError('another record has this session', ['opencodeSessionId']);
        },
      );
      if (swapped) return true;
      if (!(await this.#records.exists({ _id }))) throw new NotFoundError('record', recordId);
      return false;
    });
  }
}
