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

type ObjectId = mongoose.Types.ObjectId;
type Question = Pick<
  MessageDoc,
  '_id' | 'conversation' | 'counterpart' | 'sequence' | 'policy' | 'content' | 'carrier'
>;

/** Tries to take the next sequence numbers of a record; each lost one means that somebody else got them. */
const maxSequenceTries = 200;
const sequenceBackoff = { firstMs: 2, maxMs: 50, jitter: 1 };

/**
 * Writes a turn's two messages, question first, with consecutive numbers. A number is free until its message is
 * stored, so numbers follow the order of insertion and leave no gaps; racers for one number are told apart by the
 * unique index, and the losers look again. The question names its answer's id beforehand: whoever finds a question
 * whose writer has not got further (or died) writes that answer for it, and any number of them write one.
 */
export class TurnCreation {
  readonly #messages: Model<MessageDoc>;
  readonly #records: Model<{ title?: unknown }>;

  constructor(messages: Model<MessageDoc>, records: Model<never>) {
    this.#messages = messages;
    this.#records = records as unknown as Model<{ title?: unknown }>;
  }

  /** `head` answers the record's first pending turn. Throws NotFoundError, TurnBusyError, ConflictError. */
  async create(
    turn: NewTurn,
    head: () => Promise<string | null>,
  ): Promise<{ turn: StoredTurn; created: boolean }> {
    const conversation = objectId(turn.recordId, 'conversation');
    const [known, record] = await Promise.all([
      this.#byKey(conversation, turn.idempotencyKey),
      this.#records.exists({ _id: conversation }),
    ]);
    if (known) return { turn: known, created: false };
    if (!record) throw new NotFoundError('record', turn.recordId);
    for (let attempt = 0; attempt < maxSequenceTries; attempt += 1) {
      // Looked at before `head`: a turn that is stored after the look makes the insert below fail.
      const sequence = await this.#nextSequence(conversation);
      const busy = turn.onBusy === 'reject' ? await head() : null;
      if (busy) throw new TurnBusyError(turn.recordId, busy);
      const question = questionOf(turn, conversation, sequence);
      try {
        const [, answer] = await this.#messages.insertMany([question, answerTo(question)], { ordered: true });
        return { turn: turnOf(answer?.toObject() as MessageDoc, turn.text), created: true };
      } catch (error) {
        const keys = duplicateKeys(error);
        if (!keys) throw error;
        const first =
          keys.includes('idempotencyKey') && (await this.#byKey(conversation, turn.idempotencyKey));
        if (first) return { turn: first, created: false };
        // Ours went in, and somebody wrote its answer while we were about to.
        if (await this.#find({ _id: question._id }))
          return { turn: await this.#answered(question), created: true };
        await delay(backoffMs(Math.floor(attempt / 8), sequenceBackoff), systemClock);
      }
    }
    throw new ConflictError('too many turns are being enqueued on this record at once; try again', [
      'sequence',
    ]);
  }

  async #nextSequence(conversation: ObjectId): Promise<number> {
    const last = await this.#messages.findOne({ conversation }).sort({ sequence: -1 }).lean<MessageDoc>();
    if (!last) return 1;
    if (last.role === 'assistant') return last.sequence + 1;
    await this.#answered(last);
    return last.sequence + 2;
  }

  /** The turn of an earlier call with this key. */
  async #byKey(conversation: ObjectId, key: string | undefined): Promise<StoredTurn | null> {
    if (key === undefined) return null;
    const question = await this.#find({ conversation, idempotencyKey: key });
    return question && this.#answered(question);
  }

  /** The turn of a stored question; its answer is added when it is missing. */
  async #answered(question: Question): Promise<StoredTurn> {
    const _id = question.counterpart;
    const known = await this.#find({ _id });
    if (known) return turnOf(known, question.content);
    try {
      await this.#messages.insertMany([answerTo(question)]);
    } catch (error) {
      if (!duplicateKeys(error)) throw error;
    }
    const answer = await this.#find({ _id });
    if (answer) return turnOf(answer, question.content);
    throw new NotFoundError('turn', String(_id));
  }

  async #find(filter: Record<string, unknown>): Promise<MessageDoc | null> {
    return this.#messages.findOne(filter).lean<MessageDoc>();
  }
}

function questionOf(turn: NewTurn, conversation: ObjectId, sequence: number) {
  const { text, policy, carrier, idempotencyKey } = turn;
  return {
    _id: new mongoose.Types.ObjectId(),
    counterpart: new mongoose.Types.ObjectId(),
    conversation,
    sequence,
    policy,
    role: 'user',
    status: 'completed',
    content: text,
    ...(carrier ? { carrier } : {}),
    ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
  };
}

function answerTo({ _id, conversation, counterpart, sequence, policy, carrier }: Question) {
  return {
    _id: counterpart,
    counterpart: _id,
    conversation,
    sequence: sequence + 1,
    policy,
    role: 'assistant',
    status: 'pending',
    run: { phase: 'queued', epoch: 0, reruns: 0, resends: 0 },
    ...(carrier ? { carrier } : {}),
  };
}
