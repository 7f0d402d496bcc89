import mongoose, { type Model } from 'mongoose';
import { ConflictError, LeaseLostError, NotFoundError } from '../errors.ts';
import type { CancelResult, ClaimResult, Fence, NewTurn, PromptAnswer, TurnStore } from '../turn/ports.ts';
import type { StoredTurn, TerminalPatch, TurnPatch, TurnRecord } from '../turn/stored-turn.ts';
import type { MessageDoc } from './models.ts';
import { mongoCall } from './mongo-errors.ts';
import { objectId } from './object-id.ts';
import { TurnCreation } from './turn-creation.ts';
import { promptDoc, setOf, turnOf } from './turn-mapping.ts';

type Filter = Record<string, unknown>;

const { trusted } = mongoose;
const { ObjectId } = mongoose.Types;

/** TurnStore on the ready-made Message model; records are documents of any model with the plugin. */
export class MongoTurnStore implements TurnStore {
  readonly #messages: Model<MessageDoc>;
  readonly #records: Model<{ title?: unknown }>;
  readonly #creation: TurnCreation;

  constructor(messages: Model<MessageDoc>, records: Model<never>) {
    this.#messages = messages;
    this.#records = records as unknown as Model<{ title?: unknown }>;
    this.#creation = new TurnCreation(messages, records);
  }

  create(turn: NewTurn): Promise<{ turn: StoredTurn; created: boolean }> {
    return mongoCall(() => this.#creation.create(turn, () => this.head(turn.recordId)));
  }

  get(turnId: string): Promise<StoredTurn | null> {
    return mongoCall(async () => {
      const message = await this.#find({ _id: objectId(turnId, 'turnId'), role: 'assistant' });
      return message && this.#withText(message);
    });
  }

  record(recordId: string): Promise<TurnRecord | null> {
    return mongoCall(async () => {
      const document = await this.#records
        .findOne({ _id: objectId(recordId, 'conversation') })
        .lean<Record<string, unknown>>();
      if (!document) return null;
      const { title } = document;
      return { id: recordId, title: typeof title === 'string' ? title : '', document };
    });
  }

  async claim(turnId: string, owner: string): Promise<ClaimResult> {
    const turn = await this.get(turnId);
    if (!turn) return { kind: 'missing' };
    if (turn.status !== 'pending') return { kind: 'finished' };
    const head = await this.head(turn.recordId);
    if (head !== null && head !== turnId) return { kind: 'behind', turnId: head };
    const record = await this.record(turn.recordId);
    if (!record) return { kind: 'missing' };
    const claimed = await this.#raiseEpoch(turnId, owner);
    if (claimed === 'active') {
      const active = await mongoCall(() =>
        this.#find({ conversation: new ObjectId(turn.recordId), 'run.active': true }),
      );
      return { kind: 'behind', turnId: active ? String(active._id) : turnId };
    }
    if (!claimed) return { kind: 'finished' };
    return { kind: 'claimed', turn: turnOf(claimed, turn.userText), record };
  }

  async write(fence: Fence, patch: TurnPatch): Promise<void> {
    await mongoCall(async () => {
      const matched = await this.#update(fence, { status: 'pending' }, patch);
      if (!matched) throw new LeaseLostError(fence.turnId, fence.epoch);
    });
  }

  finish(fence: Fence, terminal: TerminalPatch): Promise<boolean> {
    return mongoCall(async () => {
      const { finishedAt, ...patch } = terminal;
      const extra = { $set: { finishedAt: new Date(finishedAt) }, $unset: { 'run.active': 1 } };
      if (await this.#update(fence, { status: 'pending' }, patch, extra)) return true;
      const message = await this.#find({ _id: objectId(fence.turnId, 'turnId') });
      // The answer to our own write may have been lost on its way: then we are the ones who finished it.
      if (message?.run?.epoch !== fence.epoch) throw new LeaseLostError(fence.turnId, fence.epoch);
      return message.status === terminal.status && message.finishedAt?.getTime() === finishedAt;
    });
  }

  async amend(fence: Fence, patch: TurnPatch): Promise<void> {
    await mongoCall(async () => {
      const matched = await this.#update(fence, { status: trusted({ $ne: 'pending' }) }, patch);
      if (!matched) throw new LeaseLostError(fence.turnId, fence.epoch);
    });
  }

  head(recordId: string): Promise<string | null> {
    return mongoCall(async () => {
      const filter: Filter = {
        conversation: objectId(recordId, 'conversation'),
        role: 'assistant',
        status: 'pending',
      };
      const first = await this.#messages.findOne(filter, { _id: 1 }).sort({ sequence: 1 }).lean();
      return first && String(first._id);
    });
  }

  cancel(turnId: string): Promise<CancelResult> {
    return mongoCall(async () => {
      const _id = objectId(turnId, 'turnId');
      const now = new Date();
      const queued: Filter = { _id, role: 'assistant', status: 'pending', 'run.epoch': 0 };
      const end = {
        status: 'cancelled',
        finishedAt: now,
        'run.phase': 'finished',
        'run.cancelRequestedAt': now.getTime(),
      };
      // Races with a claim, which raises the epoch: exactly one of the two matches.
      if ((await this.#messages.updateOne(queued, { $set: end })).modifiedCount === 1) return 'cancelled';
      const running: Filter = {
        _id,
        status: 'pending',
        'run.cancelRequestedAt': trusted({ $exists: false }),
      };
      await this.#messages.updateOne(running, { $set: { 'run.cancelRequestedAt': now.getTime() } });
      const message = await this.#find({ _id, role: 'assistant' });
      if (!message) throw new NotFoundError('turn', turnId);
      return message.status === 'pending' ? 'requested' : 'finished';
    });
  }

  answer(turnId: string, requestId: string, answer: PromptAnswer): Promise<boolean> {
    return mongoCall(async () => {
      const _id = objectId(turnId, 'turnId');
      const open = { requestId, state: 'open', answer: { $exists: false } };
      const waiting: Filter = {
        _id,
        role: 'assistant',
        status: 'pending',
        prompts: trusted({ $elemMatch: open }),
      };
      const result = await this.#messages.updateOne(waiting, {
        $set: { 'prompts.$.answer': JSON.stringify(answer) },
      });
      if (result.modifiedCount === 1) return true;
      const message = await this.#find({ _id, role: 'assistant' });
      if (!message) throw new NotFoundError('turn', turnId);
      if (!message.prompts.some((prompt) => prompt.requestId === requestId))
        throw new NotFoundError('prompt', requestId);
      return false;
    });
  }

  pending(before: number, limit: number): Promise<readonly StoredTurn[]> {
    return mongoCall(async () => {
      const filter: Filter = {
        role: 'assistant',
        status: 'pending',
        createdAt: trusted({ $lt: new Date(before) }),
      };
      const messages = await this.#messages
        .find(filter)
        .sort({ createdAt: 1 })
        .limit(limit)
        .lean<MessageDoc[]>();
      return Promise.all(messages.map((message) => this.#withText(message)));
    });
  }

  async #raiseEpoch(turnId: string, owner: string): Promise<MessageDoc | null | 'active'> {
    const filter: Filter = { _id: new ObjectId(turnId), status: 'pending' };
    const change = { $inc: { 'run.epoch': 1 }, $set: { 'run.active': true, 'run.owner': owner } };
    try {
      return await mongoCall(() =>
        this.#messages
          .findOneAndUpdate(filter, change, {
            returnDocument: 'after',
          })
          .lean<MessageDoc>(),
      );
    } catch (error) {
      if (error instanceof ConflictError) return 'active';
      throw error;
    }
  }

  /** True when the fence and the given state matched. A known prompt is changed in place, a new one appended. */
  async #update(
    fence: Fence,
    state: Record<string, unknown>,
    patch: TurnPatch,
    extra: { $set?: Record<string, unknown>; $unset?: Record<string, unknown> } = {},
  ): Promise<boolean> {
    const filter = { _id: objectId(fence.turnId, 'turnId'), 'run.epoch': fence.epoch, ...state };
    const set = { ...setOf(patch), ...extra.$set };
    const { prompt } = patch;
    if (!prompt) {
      const change = {
        $set: { 'run.epoch': fence.epoch, ...set },
        ...(extra.$unset ? { $unset: extra.$unset } : {}),
      };
      return (await this.#messages.updateOne(filter, change)).matchedCount === 1;
    }
    const known = { ...filter, 'prompts.requestId': prompt.requestId };
    const changed = await this.#messages.updateOne(known, {
      $set: { ...set, 'prompts.$.state': prompt.state },
    });
    if (changed.matchedCount === 1) return true;
    const absent = { ...filter, 'prompts.requestId': trusted({ $ne: prompt.requestId }) };
    const push = {
      $push: { prompts: promptDoc(prompt) },
      ...(Object.keys(set).length > 0 ? { $set: set } : {}),
    };
    return (await this.#messages.updateOne(absent, push)).matchedCount === 1;
  }

  async #find(filter: Record<string, unknown>): Promise<MessageDoc | null> {
    return this.#messages.findOne(filter).lean<MessageDoc>();
  }

  async #withText(message: MessageDoc): Promise<StoredTurn> {
    const question = await this.#messages.findOne({ _id: message.counterpart }, { content: 1 }).lean();
    return turnOf(message, question?.content ?? '');
  }
}
