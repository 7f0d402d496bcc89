import mongoose, { type Model } from 'mongoose';
import { ConflictError, NotFoundError, ServiceUnavailableError, TurnBusyError } from '../errors.ts';
import type { CreatedTurn, NewTurn } from '../ports/turn-store.ts';
import { backoffMs } from '../timing/backoff.ts';
import { delay, systemClock } from '../timing/clock.ts';
import { Lines, type Served } from '../timing/lines.ts';
import { storedIdText } from '../turn/conversation-id.ts';
import type { StoredTurn, WaitingTurn } from '../turn/stored-turn.ts';
import { assertReadable, isNewer, turnVersionOf } from '../turn/versions.ts';
import { ConversationIds, type StoredConversationId } from './conversation-ids.ts';
import type { MessageDoc } from './models.ts';
import { Patience, settled } from './settled.ts';
import { artifactDoc, turnOf } from './turn-mapping.ts';
import { isDuplicate } from './verdicts.ts';

type ObjectId = mongoose.Types.ObjectId;
type UserMessage = Pick<
  MessageDoc<StoredConversationId>,
  | '_id'
  | 'conversation'
  | 'conversationCollection'
  | 'schemaVersion'
  | 'counterpart'
  | 'sequence'
  | 'policy'
  | 'text'
  | 'artifacts'
  | 'carrier'
  | 'retryOf'
  | 'sendNow'
>;

/** What one call writes, under the same ids however often it tries: none of its tries can be stored beside another. */
interface Intent {
  readonly turn: NewTurn;
  readonly conversation: StoredConversationId;
  readonly conversationCollection: string;
  readonly userMessageId: ObjectId;
  readonly replyId: ObjectId;
  readonly head: () => Promise<WaitingTurn | null>;
  readonly patience: Patience;
}

/** The reply that this process has inserted last, as it was then. */
interface LastReply {
  readonly role: 'assistant';
  readonly status: 'pending';
  readonly sequence: number;
  readonly run?: undefined;
  readonly steered?: undefined;
}

const tooMany = () =>
  new ConflictError('too many turns are being enqueued on this conversation at once; try again', [
    'sequence',
  ]);

/** Tries to take the next sequence numbers of a conversation; each lost one means that somebody else got them. */
const maxSequenceTries = 200;
const sequenceBackoff = { firstMs: 2, maxMs: 50, jitter: 1 };

/**
 * Writes a turn's two messages, the user's first, with consecutive numbers. A number is free until its message is
 * stored, so numbers follow the order of insertion and leave no gaps; racers for one number are told apart by the
 * unique index, and the losers read again. Those of one process line up instead: all at once, each would read and lose as often
 * as others are in front of it, and take time with their square. The user message names the id of its reply beforehand: whoever finds one
 * whose writer has not got further (or died) writes that reply for it, and any number of them write one.
 *
 * Whatever a write was answered, what counts is what is stored: servers do not all say which index refused them, and
 * an answer may be lost. A turn that the idempotency key names wins over every other finding.
 */
export class TurnCreation {
  readonly #messages: Model<MessageDoc>;
  readonly #conversations: Model<{ title?: unknown }>;
  readonly #ids: ConversationIds;
  readonly #lines = new Lines<LastReply>({ breaksUp: (error) => error instanceof ServiceUnavailableError });

  constructor(messages: Model<MessageDoc>, conversations: Model<never>) {
    this.#messages = messages;
    this.#conversations = conversations as unknown as Model<{ title?: unknown }>;
    this.#ids = ConversationIds.of(conversations);
  }

  /**
   * `head` returns the conversation's first pending turn. Throws NotFoundError, TurnBusyError, ConflictError, and
   * ServiceUnavailableError, whose `effect` says whether the turn may be stored all the same.
   */
  async create(turn: NewTurn, head: () => Promise<WaitingTurn | null>): Promise<CreatedTurn> {
    const conversation = this.#ids.stored(turn.conversationId);
    const patience = new Patience();
    const [known, exists] = await Promise.all([
      patience.read(() => this.#byKey(conversation, turn.idempotencyKey)),
      patience.read(() => this.#exists(turn.conversationId)),
    ]);
    if (known) return { turn: known, created: false, first: false };
    if (!exists) throw new NotFoundError('conversation', turn.conversationId);
    const intent: Intent = {
      turn,
      conversation,
      conversationCollection: this.#conversations.collection.collectionName,
      userMessageId: new mongoose.Types.ObjectId(turn.uploads?.messageId),
      replyId: new mongoose.Types.ObjectId(),
      head,
      patience,
    };
    return this.#lines.run(turn.conversationId, (last) => this.#take(intent, last), tooMany);
  }

  /** `last` is what this process has just inserted: only another process can have come between. */
  async #take(intent: Intent, last: LastReply | undefined): Promise<Served<CreatedTurn, LastReply>> {
    const { patience } = intent;
    for (let attempt = 0; attempt < maxSequenceTries; attempt += 1) {
      try {
        return await this.#insert(intent, attempt === 0 ? last : undefined);
      } catch (error) {
        patience.doubt(error);
        const stored = await patience.read(() => this.#storedBy(intent));
        if (stored) return { result: stored };
        if (!isDuplicate(error)) await patience.failed(error);
        else if (attempt > 0 || !last)
          await delay(backoffMs(Math.floor(attempt / 8), sequenceBackoff), systemClock);
      }
    }
    throw tooMany();
  }

  async #insert(intent: Intent, last: LastReply | undefined): Promise<Served<CreatedTurn, LastReply>> {
    const { patience } = intent;
    const latest = last ?? (await patience.read(() => this.#latest(intent.conversation)));
    const sequence = await patience.read(() => this.#sequenceAfter(latest));
    const first = await patience.read(() => this.#isFirst(intent, latest));
    const userMessage = userMessageOf(intent, sequence, first);
    const [, reply] = await this.#messages.insertMany([userMessage, replyTo(userMessage)], { ordered: true });
    const turn = turnOf(reply?.toObject() as MessageDoc, userMessage);
    // Pending when it was inserted. Whoever is told that it is when it no longer is looks at the head once more.
    const hint = { role: 'assistant', status: 'pending', sequence: sequence + 1 } as const;
    return { result: { turn, created: true, first }, hint };
  }

  /** The turn that this call has stored without hearing of it, or the one of an earlier call with its key. */
  async #storedBy({ turn, conversation, userMessageId }: Intent): Promise<CreatedTurn | undefined> {
    // Also when somebody has written our reply while we were about to. Nobody knows what was in front of it then.
    const ours = await this.#find({ _id: userMessageId });
    if (ours) return { turn: await this.#withReply(ours), created: true, first: false };
    const earlier = await this.#byKey(conversation, turn.idempotencyKey);
    return earlier ? { turn: earlier, created: false, first: false } : undefined;
  }

  /** The conversation's last message. */
  async #latest(conversation: StoredConversationId): Promise<MessageDoc | null> {
    const filter: Record<string, unknown> = { conversation };
    return this.#messages
      .findOne(filter, { parts: 0, reasoning: 0, promptedWith: 0 })
      .sort({ sequence: -1 })
      .lean<MessageDoc>();
  }

  async #sequenceAfter(latest: MessageDoc | LastReply | null): Promise<number> {
    if (!latest) return 1;
    if (latest.role === 'assistant') return latest.sequence + 1;
    // What its reply has to look like a newer release knows: its number is left free for that.
    if (isNewer('turn', latest.schemaVersion)) return latest.sequence + 2;
    await this.#withReply(latest);
    return latest.sequence + 2;
  }

  /**
   * Whether nothing of the conversation is pending. Asked after the latest message was read: a turn that is stored
   * behind that one takes our number, so that our insert fails. A turn that has run was the first when it was
   * claimed, and the last one when nobody had moved it or another of those that waited: when that one has ended, all have.
   */
  async #isFirst({ turn, head }: Intent, latest: MessageDoc | LastReply | null): Promise<boolean> {
    if (latest === null) return true;
    if (latest.status !== 'pending' && (latest.run?.epoch ?? 0) > 0 && !wasSteered(latest)) return true;
    if (turn.onBusy === 'enqueue' && latest.status === 'pending') return false;
    const ahead = await head();
    if (ahead && turn.onBusy === 'reject') throw new TurnBusyError(turn.conversationId, ahead.id);
    return ahead === null;
  }

  /** The turn of an earlier call with this key. */
  async #byKey(conversation: StoredConversationId, key: string | undefined): Promise<StoredTurn | null> {
    if (key === undefined) return null;
    const userMessage = await this.#find({ conversation, idempotencyKey: key });
    return userMessage && this.#withReply(userMessage);
  }

  /** The turn of a stored user message; its reply is added when it is missing. */
  async #withReply(userMessage: UserMessage): Promise<StoredTurn> {
    assertReadable('turn', String(userMessage.counterpart), userMessage.schemaVersion);
    const _id = userMessage.counterpart;
    const known = await this.#find({ _id });
    if (known) return turnOf(known, userMessage);
    const stored = async () => (await this.#find({ _id })) ?? undefined;
    const reply = await settled(async () => {
      await this.#messages.insertMany([replyTo(userMessage)]);
      return stored();
    }, stored);
    if (reply) return turnOf(reply, userMessage);
    throw new NotFoundError('turn', String(_id));
  }

  async #exists(conversationId: string): Promise<boolean> {
    const found = await this.#conversations.exists({ _id: this.#ids.key(conversationId) });
    return this.#ids.isOf(conversationId, found?._id);
  }

  async #find(filter: Record<string, unknown>): Promise<MessageDoc | null> {
    return this.#messages.findOne(filter).lean<MessageDoc>();
  }
}

const wasSteered = ({ steered }: Pick<MessageDoc, 'steered'>) => steered !== undefined;

function userMessageOf(intent: Intent, sequence: number, first: boolean) {
  const { turn, conversation, conversationCollection, userMessageId, replyId } = intent;
  const { text, policy, carrier, idempotencyKey, uploads, retryOf, sendNow } = turn;
  return {
    _id: userMessageId,
    counterpart: replyId,
    conversation,
    conversationCollection,
    schemaVersion: turnVersionOf(storedIdText(conversation)),
    sequence,
    policy,
    role: 'user',
    status: 'completed',
    text,
    artifacts: (uploads?.files ?? []).map(artifactDoc),
    ...(carrier ? { carrier } : {}),
    ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
    // For the reply, whoever writes it; and whoever finds it due does the rest, should this process die.
    ...(retryOf === undefined ? {} : { retryOf }),
    ...(sendNow && !first ? { sendNow: 'due' as const } : {}),
  };
}

function replyTo(userMessage: UserMessage) {
  const {
    _id,
    conversation,
    conversationCollection,
    counterpart,
    sequence,
    policy,
    carrier,
    retryOf,
    sendNow,
  } = userMessage;
  return {
    _id: counterpart,
    counterpart: _id,
    conversation,
    ...(conversationCollection === undefined ? {} : { conversationCollection }),
    schemaVersion: turnVersionOf(storedIdText(conversation)),
    sequence: sequence + 1,
    policy,
    role: 'assistant',
    status: 'pending',
    run: { phase: 'queued', epoch: 0, reruns: 0, resends: 0 },
    ...(carrier ? { carrier } : {}),
    ...(retryOf === undefined ? {} : { retryOf }),
    ...(sendNow === undefined ? {} : { sendNow }),
  };
}
