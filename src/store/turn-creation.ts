import mongoose, { type Model } from 'mongoose';
import { ConflictError, NotFoundError, TurnBusyError } from '../errors.ts';
import { backoffMs } from '../timing/backoff.ts';
import { delay, systemClock } from '../timing/clock.ts';
import type { NewTurn } from '../turn/ports.ts';
import type { StoredTurn } from '../turn/stored-turn.ts';
import type { MessageDoc } from './models.ts';
import { duplicateKeys } from './mongo-errors.ts';
import { objectId } from './object-id.ts';
import { turnOf } from './turn-mapping.ts';

const { ObjectId } = mongoose.Types;

/** Tries to take the next sequence number of a record; each lost one means that somebody else got it. */
const maxSequenceTries = 200;
const sequenceBackoff = { firstMs: 1, maxMs: 50, jitter: 1 };

/**
 * Writes a turn's two messages. A sequence number is free until its message is stored, so numbers follow the
 * order of insertion and leave no gaps; an idempotency key gives the first call's turn to every later one.
 */
export class TurnCreation {
  readonly #messages: Model<MessageDoc>;
  readonly #records: Model<{ title?: unknown }>;

  constructor(messages: Model<MessageDoc>, records: Model<never>) {
    this.#messages = messages;
    this.#records = records as unknown as Model<{ title?: unknown }>;
  }

  async create(
    turn: NewTurn,
    head: () => Promise<string | null>,
  ): Promise<{ turn: StoredTurn; created: boolean }> {
    const conversation = objectId(turn.recordId, 'conversation');
    const known = await this.#byKey(conversation, turn.idempotencyKey);
    if (known) return { turn: known, created: false };
    if (!(await this.#records.exists({ _id: conversation })))
      throw new NotFoundError('record', turn.recordId);
    for (let attempt = 0; attempt < maxSequenceTries; attempt += 1) {
      if (turn.onBusy === 'reject') {
        const busy = await head();
        if (busy) throw new TurnBusyError(turn.recordId, busy);
      }
      try {
        return { turn: await this.#insert(conversation, turn), created: true };
      } catch (error) {
        const keys = duplicateKeys(error);
        if (!keys) throw error;
        const first =
          keys.includes('idempotencyKey') && (await this.#byKey(conversation, turn.idempotencyKey));
        if (first) return { turn: first, created: false };
        await delay(backoffMs(Math.floor(attempt / 4), sequenceBackoff), systemClock);
      }
    }
    throw new ConflictError('too many turns are being enqueued on this record at once; try again', [
      'sequence',
    ]);
  }

  /** User message first, in one command: nobody sees a question without knowing who answers it. */
  async #insert(conversation: mongoose.Types.ObjectId, turn: NewTurn): Promise<StoredTurn> {
    const last = await this.#messages
      .findOne({ conversation }, { sequence: 1 })
      .sort({ sequence: -1 })
      .lean();
    const sequence = (last?.sequence ?? 0) + 1;
    const user = new ObjectId();
    const assistant = new ObjectId();
    const { idempotencyKey, policy, carrier } = turn;
    const common = { conversation, policy, ...(carrier ? { carrier } : {}) };
    const question = {
      ...common,
      _id: user,
      counterpart: assistant,
      sequence,
      role: 'user',
      status: 'completed',
      content: turn.text,
      ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
    };
    const [, answer] = await this.#messages.insertMany([question, this.#answerTo(question)], {
      ordered: true,
    });
    return turnOf(answer?.toObject() as MessageDoc, turn.text);
  }

  #answerTo(
    question: Pick<MessageDoc, '_id' | 'conversation' | 'counterpart' | 'sequence' | 'policy' | 'carrier'>,
  ) {
    const { _id, conversation, counterpart, sequence, policy, carrier } = question;
    return {
      _id: counterpart,
      counterpart: _id,
      conversation,
      policy,
      sequence: sequence + 1,
      role: 'assistant',
      status: 'pending',
      run: { phase: 'queued', epoch: 0, reruns: 0, resends: 0 },
      ...(carrier ? { carrier } : {}),
    };
  }

  /** The turn of an earlier call with this key; its answer is added if that call died between the two. */
  async #byKey(conversation: mongoose.Types.ObjectId, key: string | undefined): Promise<StoredTurn | null> {
    if (key === undefined) return null;
    const question = await this.#find({ conversation, idempotencyKey: key });
    if (!question) return null;
    const answer = await this.#find({ _id: question.counterpart });
    if (answer) return turnOf(answer, question.content);
    const [created] = await this.#messages.insertMany([this.#answerTo(question)]);
    return turnOf(created?.toObject() as MessageDoc, question.content);
  }

  async #find(filter: Record<string, unknown>): Promise<MessageDoc | null> {
    return this.#messages.findOne(filter).lean<MessageDoc>();
  }
}
