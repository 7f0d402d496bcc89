import mongoose, { type Model } from 'mongoose';
import { OwnershipLostError } from '../errors.ts';
import type { Fence } from '../ports/turn-store.ts';
import type { TerminalPatch, TurnPatch } from '../turn/stored-turn.ts';
import type { MessageDoc } from './models.ts';
import { objectId } from './object-id.ts';
import { settled } from './settled.ts';
import { requestDoc, setOf, unsetOf } from './turn-mapping.ts';

const { trusted } = mongoose;

interface Change {
  readonly $set: Record<string, unknown>;
  readonly $unset?: Record<string, 1>;
}

/**
 * The writes of a run. Each one names the epoch of its claim in its filter: after a newer claim it matches
 * nothing, whatever the old owner believes, and throws OwnershipLostError. All are idempotent, so that one whose
 * answer was lost may be repeated.
 */
export class FencedWrites {
  readonly #messages: Model<MessageDoc>;

  constructor(messages: Model<MessageDoc>) {
    this.#messages = messages;
  }

  async write(fence: Fence, patch: TurnPatch): Promise<void> {
    if (await this.#update(fence, { status: 'pending' }, patch)) return;
    throw new OwnershipLostError(fence.turnId, fence.epoch);
  }

  /**
   * True when this run ended the turn; false when something else had, in the same epoch. What is stored counts, whatever
   * the answer to the write was: one that was applied and not confirmed has ended the turn, and nobody else would tell.
   */
  async finish(fence: Fence, terminal: TerminalPatch): Promise<boolean> {
    const { finishedAt, ...patch } = terminal;
    // In one update with the state: the conversation's next turn can be claimed the moment this one has ended.
    const end: Change = { $set: { finishedAt: new Date(finishedAt) }, $unset: { 'run.active': 1 } };
    const ended = await settled(
      () => this.#update(fence, { status: 'pending' }, patch, end),
      async () => isEndOf(await this.#find(fence), fence, terminal) || undefined,
    );
    if (ended) return true;
    const message = await this.#find(fence);
    if (message?.run?.epoch !== fence.epoch) throw new OwnershipLostError(fence.turnId, fence.epoch);
    // The answer to our own write may have been lost on its way: then we are the ones who finished it.
    return isEndOf(message, fence, terminal);
  }

  /** As `write`, on a message that is terminal. */
  async amend(fence: Fence, patch: TurnPatch): Promise<void> {
    if (await this.#update(fence, { status: trusted({ $ne: 'pending' }) }, patch)) return;
    throw new OwnershipLostError(fence.turnId, fence.epoch);
  }

  /** True when the fence and the given state matched. A known request is changed in place, a new one appended. */
  async #update(
    fence: Fence,
    state: Record<string, unknown>,
    patch: TurnPatch,
    more: Change = { $set: {} },
  ): Promise<boolean> {
    const filter = { _id: objectId(fence.turnId, 'turnId'), 'run.epoch': fence.epoch, ...state };
    // The epoch is set to what it is: MongoDB refuses an empty `$set`.
    const gone = unsetOf(patch);
    const change = {
      ...more,
      $set: { 'run.epoch': fence.epoch, ...setOf(patch), ...more.$set },
      ...(gone ? { $unset: { ...gone, ...more.$unset } } : {}),
    };
    const { request } = patch;
    if (!request) return this.#matched(filter, change);
    const { requestId } = request;
    const known = { ...filter, 'requests.requestId': requestId };
    const inPlace = { ...change, $set: { ...change.$set, 'requests.$.state': request.state } };
    if (await this.#matched(known, inPlace)) return true;
    const absent = { ...filter, 'requests.requestId': trusted({ $ne: requestId }) };
    return this.#matched(absent, { ...change, $push: { requests: requestDoc(request) } });
  }

  #find({ turnId }: Fence): Promise<MessageDoc | null> {
    return this.#messages.findOne({ _id: objectId(turnId, 'turnId') }).lean<MessageDoc>();
  }

  async #matched(filter: Record<string, unknown>, change: Record<string, unknown>): Promise<boolean> {
    return (await this.#messages.updateOne(filter, change)).matchedCount === 1;
  }
}

/** Two ends of one epoch, as when the database refused the first one, have different states. */
function isEndOf(
  message: MessageDoc | null,
  { epoch }: Fence,
  { status, finishedAt }: TerminalPatch,
): boolean {
  return (
    message?.run?.epoch === epoch && message.status === status && message.finishedAt?.getTime() === finishedAt
  );
}
