import mongoose, { type Model } from 'mongoose';
import type { MessageDoc } from './models.ts';
import { objectId } from './object-id.ts';
import { readableVersion } from './readable-version.ts';

const { trusted } = mongoose;

/** For the end itself: due at once, by whatever clock. */
export const notAnnounced = { 'run.announceFrom': 1 };

/** Since when an end may be told that has not been, by the clock of now. */
export const dueToAnnounce = () => trusted({ $gt: 0, $lte: Date.now() });

/**
 * Ends that no run has written, each of which somebody is to tell. `run.announceFrom` stands on them until they are told;
 * whoever takes one puts it off, so that others leave it to him for a while.
 */
export class UnannouncedEnds {
  readonly #messages: Model<MessageDoc>;

  constructor(messages: Model<MessageDoc>) {
    this.#messages = messages;
  }

  /** Of two that take it at once, one matches. */
  async take(turnId: string, againMs: number): Promise<MessageDoc | null> {
    const filter = {
      _id: objectId(turnId, 'turnId'),
      'run.announceFrom': dueToAnnounce(),
      ...readableVersion(),
    };
    const later = { $set: { 'run.announceFrom': Date.now() + againMs } };
    return this.#messages.findOneAndUpdate(filter, later, { returnDocument: 'after' }).lean<MessageDoc>();
  }

  async announced(turnId: string): Promise<void> {
    const filter = { _id: objectId(turnId, 'turnId') };
    await this.#messages.updateOne(filter, { $unset: { 'run.announceFrom': 1 } });
  }
}
