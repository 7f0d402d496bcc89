import mongoose, { type Model } from 'mongoose';
import type { OpenStop, StopStore } from '../ports/stop-store.ts';
import { storedIdText } from '../turn/conversation-id.ts';
import type { StopRef } from '../turn/stored-turn.ts';
import { assertReadable } from '../turn/versions.ts';
import { ConversationIds } from './conversation-ids.ts';
import { mongoCall } from './errors.ts';
import type { MessageDoc } from './models.ts';
import { objectId } from './object-id.ts';
import { readableVersion } from './readable-version.ts';

type Filter = Record<string, unknown>;
const { trusted } = mongoose;

/** StopStore on the ready-made Message model: what is open stands on the message of the turn that left it. */
export class MongoStopStore implements StopStore {
  readonly #messages: Model<MessageDoc>;
  readonly #ids: ConversationIds;

  constructor(messages: Model<MessageDoc>) {
    this.#messages = messages;
    this.#ids = ConversationIds.of(messages, 'conversation');
  }

  open({
    turnId,
    conversationId,
    sessionId,
    limit,
  }: Parameters<StopStore['open']>[0]): Promise<readonly OpenStop[]> {
    return mongoCall(async () => {
      const filter: Filter = {
        'run.stopTriedAt': trusted({ $gt: 0 }),
        ...(turnId === undefined ? {} : { _id: objectId(turnId, 'turnId') }),
        ...(conversationId === undefined ? {} : { conversation: this.#ids.stored(conversationId) }),
        ...(sessionId === undefined ? {} : { 'run.openStops.sessionId': sessionId }),
        // Whoever asks for a session's is about to prompt it: what it cannot read must keep it from that.
        ...(sessionId === undefined ? readableVersion() : {}),
      };
      const fields = { schemaVersion: 1, conversation: 1, run: 1, finishedAt: 1, createdAt: 1 };
      const messages = await this.#messages
        .find(filter, fields)
        .sort({ 'run.stopTriedAt': 1 })
        .limit(limit)
        .lean<MessageDoc[]>();
      for (const { _id, schemaVersion } of messages) assertReadable('turn', String(_id), schemaVersion);
      return messages.map(({ _id, conversation, run, finishedAt, createdAt }) => ({
        turnId: String(_id),
        conversationId: storedIdText(conversation),
        stops: run?.openStops ?? [],
        since: finishedAt?.getTime() ?? run?.promptedAt ?? createdAt.getTime(),
      }));
    });
  }

  tried(turnId: string): Promise<void> {
    return mongoCall(async () => {
      const filter: Filter = { _id: objectId(turnId, 'turnId'), 'run.stopTriedAt': trusted({ $gt: 0 }) };
      await this.#messages.updateOne(filter, { $set: { 'run.stopTriedAt': Date.now() } });
    });
  }

  close(turnId: string, stop?: StopRef): Promise<void> {
    return mongoCall(async () => {
      const _id = objectId(turnId, 'turnId');
      // One by one: the turn itself may be adding another.
      const gone = stop && { 'run.openStops': { promptMessageId: stop.promptMessageId } };
      if (gone) await this.#messages.updateOne({ _id }, { $pull: gone });
      await this.#messages.updateOne({ _id, 'run.openStops': trusted({ $size: 0 }) } as Filter, {
        $unset: { 'run.stopTriedAt': 1, 'run.openStops': 1 },
      });
    });
  }
}
