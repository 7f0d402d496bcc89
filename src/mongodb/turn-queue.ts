import mongoose, { type Model } from 'mongoose';
import { ConflictError, InvalidInputError, NotFoundError } from '../errors.ts';
import type { ConversationQueue, EditResult, MoveResult, SentNow, TurnQueue } from '../ports/turn-queue.ts';
import { byPlace, placeOf } from '../turn/position.ts';
import { type Place, placeFor } from '../turn/queue-order.ts';
import { versions } from '../turn/versions.ts';
import { ConversationIds, type StoredConversationId } from './conversation-ids.ts';
import { mongoCall } from './errors.ts';
import type { MessageDoc } from './models.ts';
import type { OpenCodeSessionFields } from './opencode-session-plugin.ts';
import { pendingReplies } from './queue-head.ts';
import {
  type AskedText,
  askedText,
  holdOf,
  isRunning,
  placedOf,
  queuedOf,
  queueFields,
  runningOf,
} from './queued-turn.ts';
import { settled } from './settled.ts';
import { editTurn } from './turn-edit.ts';
import { waitingState } from './waiting-turn.ts';

const { trusted } = mongoose;

/** Turns of one conversation that may wait where somebody changes their order. */
const maxOrdered = 5_000;
const maxListed = 200;
/** User messages read at once: each may be of a megabyte. */
const textsAtOnce = 20;
/** Each lost try means that somebody else has moved the turn. */
const maxTries = 100;

/** TurnQueue on the ready-made Message model and the host's conversations. */
export class MongoTurnQueue implements TurnQueue {
  readonly #messages: Model<MessageDoc>;
  readonly #conversations: Model<OpenCodeSessionFields & { _id: unknown }>;
  readonly #ids: ConversationIds;

  constructor(messages: Model<MessageDoc>, conversations: Model<never>) {
    this.#messages = messages;
    this.#ids = ConversationIds.of(conversations);
    this.#conversations = conversations as unknown as Model<OpenCodeSessionFields & { _id: unknown }>;
  }

  queue(conversationId: string): Promise<ConversationQueue> {
    return mongoCall(async () => {
      const [conversation, pending] = await Promise.all([
        this.#conversation(conversationId),
        this.#inOrder(this.#ids.stored(conversationId)),
      ]);
      const running = pending.find(isRunning);
      const waiting = pending.filter((each) => !isRunning(each));
      const listed = waiting.slice(0, maxListed);
      const texts = await this.#userMessages(running ? [running, ...listed] : listed);
      const hold = holdOf(conversation);
      return {
        ...(running ? { running: runningOf(running, texts.get(String(running._id))) } : {}),
        waiting: listed.map((each) => queuedOf(each, texts.get(String(each._id)))),
        more: waiting.length - listed.length,
        ...(hold ? { hold } : {}),
      };
    });
  }

  edit(turnId: string, text: string, revision?: number): Promise<EditResult> {
    return mongoCall(() => editTurn(this.#messages, turnId, text, revision));
  }

  move(turnId: string, place: Place): Promise<MoveResult> {
    return mongoCall(() => this.#place(turnId, place));
  }

  sendNow(turnId: string): Promise<SentNow> {
    return mongoCall(async () => {
      const found = await waitingState(this.#messages, turnId);
      if (found.kind !== 'waiting') return { kind: found.kind, turnId };
      const { conversation } = found.message;
      const target = (await this.#active(conversation))?._id;
      const now = { sendNow: 'placed', ...(target ? { interrupts: String(target) } : {}) } as const;
      const moved = await this.#place(turnId, 'first', now);
      if (moved.kind !== 'moved') return moved;
      // A claim that has not seen the turn in front has either lost by now, or is seen here.
      await this.#mark(conversation);
      const [active, own] = await Promise.all([
        this.#active(conversation),
        waitingState(this.#messages, turnId),
      ]);
      if (!active || own.kind !== 'waiting') return moved;
      // One that was placed in front of this one since is what whoever asked last wants.
      const isLater = active.sendNow !== undefined && byPlace(active, own.message) < 0;
      return isLater ? moved : { ...moved, interrupts: String(active._id) };
    });
  }

  hold(conversationId: string, by: string | undefined): Promise<{ readonly running: string | undefined }> {
    return mongoCall(async () => {
      await this.#setHold(conversationId, { opencodeHeldAt: new Date(), opencodeHeldBy: by ?? null });
      // A claim that has not seen the hold has either lost by now, or is seen here.
      await this.#mark(this.#ids.stored(conversationId));
      const active = await this.#active(this.#ids.stored(conversationId));
      return { running: active ? String(active._id) : undefined };
    });
  }

  release(conversationId: string): Promise<void> {
    return mongoCall(() => this.#setHold(conversationId, { opencodeHeldAt: null, opencodeHeldBy: null }));
  }

  async #setHold(conversationId: string, fields: OpenCodeSessionFields): Promise<void> {
    const { _id } = await this.#conversation(conversationId);
    const matched = await settled(
      async () => (await this.#conversations.updateOne({ _id } as never, { $set: fields })).matchedCount,
      async () => undefined,
    );
    if (matched === 0) throw new NotFoundError('conversation', conversationId);
  }

  async #conversation(conversationId: string): Promise<OpenCodeSessionFields & { readonly _id: unknown }> {
    const found = await this.#conversations
      .findOne({ _id: this.#ids.key(conversationId) }, { opencodeHeldAt: 1, opencodeHeldBy: 1 })
      .lean<OpenCodeSessionFields & { _id: unknown }>();
    if (!found || !this.#ids.isOf(conversationId, found._id))
      throw new NotFoundError('conversation', conversationId);
    return found;
  }

  /**
   * Those that wait are marked first, so that whoever claims one of them looks at what was moved: if this process dies between
   * the two, the order is the old one.
   */
  async #place(
    turnId: string,
    place: Place,
    more?: Pick<MessageDoc, 'sendNow' | 'interrupts'>,
  ): Promise<MoveResult> {
    for (let attempt = 0; attempt < maxTries; attempt += 1) {
      const found = await waitingState(this.#messages, turnId);
      if (found.kind !== 'waiting') return { kind: found.kind, turnId };
      const { message, filter } = found;
      const { conversation } = message;
      const pending = await this.#inOrder(conversation);
      const neighbour = typeof place === 'object' ? Object.values(place)[0] : undefined;
      const gone = neighbour === undefined ? undefined : await this.#unlessWaiting(neighbour, pending);
      if (gone) return gone;
      const position = placeFor(turnId, place, pending.map(placedOf));
      if (position === undefined)
        throw new ConflictError('no place is left there; move the turn elsewhere', ['position']);
      if (position === placeOf(message) && !more) return { kind: 'moved' };
      await this.#mark(conversation);
      const moved = await settled(
        async () =>
          (
            await this.#messages.updateOne(
              { ...filter, position: message.position ?? null },
              {
                $set: { position, ...more },
                $max: { schemaVersion: versions.turn },
              },
            )
          ).matchedCount === 1,
        async () =>
          (await this.#messages.exists({ _id: message._id, position, ...more })) !== null || undefined,
      );
      if (moved) return { kind: 'moved' };
    }
    throw new ConflictError('too many move this turn at once; try again', ['position']);
  }

  /** What has become of a neighbour that is no longer among those that wait. */
  async #unlessWaiting(turnId: string, pending: readonly MessageDoc[]): Promise<MoveResult | undefined> {
    if (pending.some((each) => String(each._id) === turnId && !isRunning(each))) return undefined;
    const found = await waitingState(this.#messages, turnId);
    if (found.kind !== 'waiting') return { kind: found.kind, turnId };
    throw new InvalidInputError('place', `turn ${turnId} is of another conversation`);
  }

  /** All that wait look different now to a claim that has read them before. */
  async #mark(conversation: StoredConversationId): Promise<void> {
    const waiting = { ...pendingReplies(conversation), 'run.epoch': 0 };
    await settled(
      async () => (await this.#messages.updateMany(waiting, { $inc: { steered: 1 } })).matchedCount,
      async () => undefined,
    );
  }

  async #active(conversation: StoredConversationId): Promise<MessageDoc | null> {
    return this.#messages
      .findOne(
        { ...pendingReplies(conversation), 'run.active': true },
        { sendNow: 1, position: 1, sequence: 1 },
      )
      .lean<MessageDoc>();
  }

  /** What is pending, in the order in which it will run. */
  async #inOrder(conversation: StoredConversationId): Promise<readonly MessageDoc[]> {
    const found = await this.#messages
      .find(pendingReplies(conversation), queueFields)
      .sort({ sequence: 1 })
      .limit(maxOrdered + 1)
      .lean<MessageDoc[]>();
    if (found.length > maxOrdered)
      throw new ConflictError(`more than ${maxOrdered} turns wait in this conversation`, ['position']);
    return [...found].sort(byPlace);
  }

  /** By the id of the reply. */
  async #userMessages(replies: readonly MessageDoc[]): Promise<ReadonlyMap<string, AskedText>> {
    const all = new Map<string, AskedText>();
    for (let from = 0; from < replies.length; from += textsAtOnce) {
      const _id = trusted({ $in: replies.slice(from, from + textsAtOnce).map((each) => each.counterpart) });
      const found = await this.#messages
        .find({ _id }, { text: 1, artifacts: 1, counterpart: 1 })
        .lean<MessageDoc[]>();
      for (const each of found) all.set(String(each.counterpart), askedText(each));
    }
    return all;
  }
}
