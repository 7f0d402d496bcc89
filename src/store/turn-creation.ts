import mongoose, { type Model } from 'mongoose';
import { ConflictError, NotFoundError, TurnBusyError } from '../errors.ts';
import { backoffMs } from '../timing/backoff.ts';
import { delay, systemClock } from '../timing/clock.ts';
import type { CreatedTurn, NewTurn } from '../turn/ports.ts';
import type { StoredTurn, WaitingTurn } from '../turn/stored-turn.ts';
import type { MessageDoc } from './models.ts';
import { duplicateKeys } from './mongo-errors.ts';
import { objectId } from './object-id.ts';
import { artifactDoc, turnOf } from './turn-mapping.ts';

type ObjectId = mongoose.Types.ObjectId;
type Question = Pick<
  MessageDoc,
  '_id' | 'conversation' | 'counterpart' | 'sequence' | 'policy' | 'content' | 'artifacts' | 'carrier'
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
  async create(turn: NewTurn, head: () => Promise<WaitingTurn | null>): Promise<CreatedTurn> {
    const conversation = objectId(turn.recordId, 'conversation');
    const [known, record, latest] = await Promise.all([
      this.#byKey(conversation, turn.idempotencyKey),
      this.#records.exists({ _id: conversation }),
      this.#latest(conversation),
    ]);
    if (known) return { turn: known, created: false, first: false };
    if (!record) throw new NotFoundError('record', turn.recordId);
    for (let attempt = 0; attempt < maxSequenceTries; attempt += 1) {
      const before = attempt === 0 ? latest : await this.#latest(conversation);
      const sequence = await this.#sequenceAfter(before);
      const first = await this.#isFirst(turn, before, head);
      const question = questionOf(turn, conversation, sequence);
      try {
        const [, answer] = await this.#messages.insertMany([question, answerTo(question)], { ordered: true });
        return { turn: turnOf(answer?.toObject() as MessageDoc, question), created: true, first };
      } catch (error) {
        const keys = duplicateKeys(error);
        if (!keys) throw error;
        const earlier =
          keys.includes('idempotencyKey') && (await this.#byKey(conversation, turn.idempotencyKey));
        if (earlier) return { turn: earlier, created: false, first: false };
        // Ours went in, and somebody wrote its answer while we were about to.
        if (await this.#find({ _id: question._id }))
          return { turn: await this.#answered(question), created: true, first };
        await delay(backoffMs(Math.floor(attempt / 8), sequenceBackoff), systemClock);
      }
    }
    throw new ConflictError('too many turns are being enqueued on this record at once; try again', [
      'sequence',
    ]);
  }

  /** The record's last message. */
  #latest(conversation: ObjectId): Promise<MessageDoc | null> {
    return this.#messages
      .findOne({ conversation }, { parts: 0, reasoning: 0 })
      .sort({ sequence: -1 })
      .lean<MessageDoc>();
  }

  async #sequenceAfter(latest: MessageDoc | null): Promise<number> {
    if (!latest) return 1;
    if (latest.role === 'assistant') return latest.sequence + 1;
    await this.#answered(latest);
    return latest.sequence + 2;
  }

  /**
   * Whether nothing of the record is pending. Asked after the look at the latest message: a turn that is stored
   * behind that one takes our number, so that our insert fails. A turn that has run was the first when it was
   * claimed: when that one has ended, all have.
   */
  async #isFirst(
    turn: NewTurn,
    latest: MessageDoc | null,
    head: () => Promise<WaitingTurn | null>,
  ): Promise<boolean> {
    if (latest === null || (latest.status !== 'pending' && (latest.run?.epoch ?? 0) > 0)) return true;
    if (turn.onBusy === 'enqueue' && latest.status === 'pending') return false;
    const ahead = await head();
    if (ahead && turn.onBusy === 'reject') throw new TurnBusyError(turn.recordId, ahead.id);
    return ahead === null;
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
    if (known) return turnOf(known, question);
    try {
      await this.#messages.insertMany([answerTo(question)]);
    } catch (error) {
      if (!duplicateKeys(error)) throw error;
    }
    const answer = await this.#find({ _id });
    if (answer) return turnOf(answer, question);
    throw new NotFoundError('turn', String(_id));
  }

  async #find(filter: Record<string, unknown>): Promise<MessageDoc | null> {
    return this.#messages.findOne(filter).lean<MessageDoc>();
  }
}

function questionOf(turn: NewTurn, conversation: ObjectId, sequence: number) {
  const { text, policy, carrier, idempotencyKey, uploads } = turn;
  return {
    _id: new mongoose.Types.ObjectId(uploads?.messageId),
    counterpart: new mongoose.Types.ObjectId(),
    conversation,
    sequence,
    policy,
    role: 'user',
    status: 'completed',
    content: text,
    artifacts: (uploads?.files ?? []).map(artifactDoc),
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
