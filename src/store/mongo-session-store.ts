import mongoose, { type Model } from 'mongoose';
import { NotFoundError } from '../errors.ts';
import type { RecordSession, SessionStore } from '../turn/ports.ts';
import { mongoCall } from './mongo-errors.ts';
import type { OpenCodeSessionFields } from './opencode-session-plugin.ts';

type RecordDoc = OpenCodeSessionFields & { _id: mongoose.Types.ObjectId; title?: unknown };

/** SessionStore on any model with the `opencodeSession` plugin. */
export class MongoSessionStore implements SessionStore {
  readonly #records: Model<RecordDoc>;

  constructor(records: Model<never>) {
    this.#records = records as unknown as Model<RecordDoc>;
  }

  session(recordId: string): Promise<RecordSession> {
    return mongoCall(async () => {
      const record = await this.#records
        .findOne({ _id: new mongoose.Types.ObjectId(recordId) })
        .lean<RecordDoc>();
      if (!record) throw new NotFoundError('record', recordId);
      return {
        sessionId: record.opencodeSessionId ?? null,
        server: record.opencodeServer ?? null,
        title: typeof record.title === 'string' ? record.title : '',
      };
    });
  }

  swap(
    recordId: string,
    expected: string | null,
    next: { sessionId: string; server: string },
  ): Promise<boolean> {
    return mongoCall(async () => {
      const _id = new mongoose.Types.ObjectId(recordId);
      // Null matches a missing field too: both mean "no session".
      const result = await this.#records.updateOne(
        { _id, opencodeSessionId: expected },
        { $set: { opencodeSessionId: next.sessionId, opencodeServer: next.server } },
        { runValidators: true },
      );
      if (result.matchedCount === 1) return true;
      if (!(await this.#records.exists({ _id }))) throw new NotFoundError('record', recordId);
      return false;
    });
  }
}
