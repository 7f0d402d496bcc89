import mongoose, { type Model } from 'mongoose';
import { backoffMs } from '../timing/backoff.ts';
import { delay, systemClock } from '../timing/clock.ts';
import { storedIdText } from '../turn/conversation-id.ts';
import { turnVersionOf } from '../turn/versions.ts';
import type { MessageDoc } from './models.ts';
import { readableVersion } from './readable-version.ts';
import { Patience } from './settled.ts';
import { isDuplicate } from './verdicts.ts';

/** `beaten`: somebody else has changed the turn since it was looked at; look again. */
export type Raised =
  | { readonly kind: 'claimed'; readonly message: MessageDoc }
  | { readonly kind: 'active'; readonly turnId: string }
  | { readonly kind: 'beaten' };

const backoff = { firstMs: 1, maxMs: 20, jitter: 1 };

/**
 * Raises a turn's epoch from the one that was seen, and leaves a token of its own. Of any number of claims that have
 * seen the same epoch one wins, and one whose answer was lost is told from all others by its token: it is neither made
 * twice nor, when it arrives late, over the claim of somebody else.
 */
export class TurnClaim {
  readonly #messages: Model<MessageDoc>;
  readonly #patience = new Patience();
  #beaten = 0;

  constructor(messages: Model<MessageDoc>) {
    this.#messages = messages;
  }

  /** Throws ServiceUnavailableError. */
  async raise({ _id, conversation, run, steered }: MessageDoc, owner: string): Promise<Raised> {
    const claim = String(new mongoose.Types.ObjectId());
    // Of the first claim that has stored it: a turn's time does not begin anew with its next owner.
    const isFirst = run?.startedAt === undefined && run?.firstClaimedAt === undefined;
    const change = {
      $inc: { 'run.epoch': 1 },
      $set: { 'run.active': true, 'run.owner': owner, 'run.claim': claim },
      $unset: { 'run.policySoughtSince': 1 as const, 'run.policySoughtAt': 1 as const },
      $currentDate: {
        'run.claimedAt': true as const,
        ...(isFirst ? { 'run.firstClaimedAt': true as const } : {}),
      },
      $max: { schemaVersion: turnVersionOf(storedIdText(conversation)) },
    };
    try {
      const message = await this.#messages
        .findOneAndUpdate(
          {
            _id,
            status: 'pending',
            'run.epoch': run?.epoch ?? 0,
            // Null is none. Loses against whoever has moved a turn of the conversation, or held it, since we looked.
            steered: steered ?? null,
            ...readableVersion(),
          },
          change,
          { returnDocument: 'after' },
        )
        .lean<MessageDoc>();
      return message ? { kind: 'claimed', message } : await this.#beatenAgain();
    } catch (error) {
      this.#patience.doubt(error);
      const message = await this.#patience.read(() => this.#find({ _id, 'run.claim': claim }));
      if (message) return { kind: 'claimed', message };
      // The index of the one active turn: servers say so in words of their own, so its holder is looked for.
      const active = await this.#patience.read(() => this.#find({ conversation, 'run.active': true }));
      if (active && !active._id.equals(_id)) return { kind: 'active', turnId: String(active._id) };
      if (isDuplicate(error)) return this.#beatenAgain();
      await this.#patience.failed(error);
      return { kind: 'beaten' };
    }
  }

  async #beatenAgain(): Promise<Raised> {
    await delay(backoffMs(Math.floor(this.#beaten / 4), backoff), systemClock);
    this.#beaten += 1;
    return { kind: 'beaten' };
  }

  async #find(filter: Record<string, unknown>): Promise<MessageDoc | null> {
    return this.#messages.findOne(filter).lean<MessageDoc>();
  }
}
