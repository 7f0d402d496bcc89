import mongoose, { type Model } from 'mongoose';
import { ConflictError, InvalidInputError, NotFoundError } from '../errors.ts';
import type {
  CancelResult,
  ClaimResult,
  CreatedTurn,
  Fence,
  NewTurn,
  TurnStore,
} from '../ports/turn-store.ts';
import type { TurnConversation } from '../turn/conversation.ts';
import { storedIdText } from '../turn/conversation-id.ts';
import type {
  InputAnswer,
  PendingTurn,
  StoredTurn,
  TerminalPatch,
  TurnControl,
  TurnFailure,
  TurnPatch,
  WaitingTurn,
} from '../turn/stored-turn.ts';
import { assertReadable } from '../turn/versions.ts';
import { abandoned } from './abandoned-turn.ts';
import { ConversationIds } from './conversation-ids.ts';
import { mongoCall } from './errors.ts';
import { FencedWrites } from './fenced-writes.ts';
import type { MessageDoc } from './models.ts';
import { objectId } from './object-id.ts';
import { sessionIn } from './opencode-session-plugin.ts';
import { queueHead } from './queue-head.ts';
import { readableVersion } from './readable-version.ts';
import { settled } from './settled.ts';
import { policySoughtMs } from './sought-policy.ts';
import { TurnClaim } from './turn-claim.ts';
import { TurnCreation } from './turn-creation.ts';
import { copyEdit } from './turn-edit.ts';
import { controlOf, turnOf, waitingFields, waitingOf } from './turn-mapping.ts';
import { type PageStart, pageOfTurns } from './turn-pages.ts';
import { dueToAnnounce, notAnnounced, UnannouncedEnds } from './unannounced-ends.ts';
import { unclaimed } from './waiting-turn.ts';

type ObjectId = mongoose.Types.ObjectId;
type Filter = Record<string, unknown>;

const { trusted } = mongoose;

/** Owners that want one turn at the same moment; each lost try means that another one got it. */
const maxClaims = 100;

/** TurnStore on the ready-made Message model; conversations are documents of any model with the plugin. */
export class MongoTurnStore implements TurnStore {
  readonly #messages: Model<MessageDoc>;
  readonly #conversations: Model<{ title?: unknown }>;
  /** Of the conversations. */
  readonly #collection: string;
  readonly #ids: ConversationIds;
  readonly #creation: TurnCreation;
  readonly #writes: FencedWrites;
  readonly #unannounced: UnannouncedEnds;

  constructor(messages: Model<MessageDoc>, conversations: Model<never>) {
    this.#messages = messages;
    this.#conversations = conversations as unknown as Model<{ title?: unknown }>;
    this.#collection = conversations.collection.collectionName;
    this.#ids = ConversationIds.of(conversations);
    this.#creation = new TurnCreation(messages, conversations);
    this.#writes = new FencedWrites(messages);
    this.#unannounced = new UnannouncedEnds(messages);
  }

  create(turn: NewTurn): Promise<CreatedTurn> {
    return mongoCall(() => this.#creation.create(turn, () => this.head(turn.conversationId)));
  }

  get(turnId: string): Promise<StoredTurn | null> {
    return mongoCall(async () => {
      const message = await this.#find({ _id: objectId(turnId, 'turnId'), role: 'assistant' });
      if (!message) return null;
      const userMessage = await this.#find({ _id: message.counterpart });
      return turnOf(message, userMessage);
    });
  }

  conversation(conversationId: string): Promise<TurnConversation | null> {
    return mongoCall(async () => {
      const document = await this.#conversations
        .findOne({ _id: this.#ids.key(conversationId) })
        .lean<Record<string, unknown>>();
      if (!document || !this.#ids.isOf(conversationId, document._id)) return null;
      const { title } = document;
      const session = sessionIn(document);
      return {
        id: conversationId,
        title: typeof title === 'string' ? title : '',
        ...(session ? { session } : {}),
        ...(document.opencodeHeldAt ? { held: true } : {}),
        document,
      };
    });
  }

  control(turnId: string): Promise<TurnControl | null> {
    return mongoCall(async () => {
      const filter: Filter = { _id: objectId(turnId, 'turnId'), role: 'assistant' };
      const message = await this.#messages
        .findOne(filter, { schemaVersion: 1, run: 1, requests: 1, status: 1 })
        .lean<MessageDoc>();
      assertReadable('turn', turnId, message?.schemaVersion);
      return message && controlOf(message);
    });
  }

  claim(
    { id, conversationId }: Pick<StoredTurn, 'id' | 'conversationId'>,
    owner: string,
  ): Promise<ClaimResult> {
    return mongoCall(async () => {
      const _id = objectId(id, 'turnId');
      const claim = new TurnClaim(this.#messages);
      for (let attempt = 0; attempt < maxClaims; attempt += 1) {
        const first = await queueHead(this.#messages, this.#ids.stored(conversationId));
        // Behind the head: a hold that is missed here has marked the head since, and the claim loses.
        const [conversation, userMessage] = await Promise.all([
          this.conversation(conversationId),
          first && this.#find({ _id: first.counterpart }),
        ]);
        if (!conversation || !first?._id.equals(_id))
          return this.#unclaimed(_id, conversationId, conversation, first);
        if (conversation.held && !first.run?.active) return { kind: 'held' };
        for (const each of [first, userMessage]) assertReadable('turn', id, each?.schemaVersion);
        assertReadable('session', conversationId, conversation.document.opencodeSessionVersion);
        const raised = await claim.raise(first, owner);
        if (raised.kind === 'active') return { kind: 'behind', turnId: raised.turnId };
        if (raised.kind === 'claimed') {
          await copyEdit(this.#messages, raised.message, userMessage);
          return { kind: 'claimed', turn: turnOf(raised.message, userMessage), conversation };
        }
      }
      throw new ConflictError('too many owners claim this turn at once; try again', ['run.epoch']);
    });
  }

  policySoughtMs(turnId: string): Promise<number> {
    return mongoCall(() => policySoughtMs(this.#messages, turnId));
  }

  write(fence: Fence, patch: TurnPatch): Promise<void> {
    return mongoCall(() => this.#writes.write(fence, patch));
  }

  finish(fence: Fence, terminal: TerminalPatch): Promise<boolean> {
    return mongoCall(() => this.#writes.finish(fence, terminal));
  }

  amend(fence: Fence, patch: TurnPatch): Promise<void> {
    return mongoCall(() => this.#writes.amend(fence, patch));
  }

  head(conversationId: string): Promise<WaitingTurn | null> {
    return mongoCall(async () => {
      const first = await queueHead(this.#messages, this.#ids.stored(conversationId));
      return first && waitingOf(first, this.#collection);
    });
  }

  cancel(turnId: string, interruptedBy?: string): Promise<CancelResult> {
    return mongoCall(async () => {
      const _id = objectId(turnId, 'turnId');
      const now = Date.now();
      if (await this.#cancelWaiting(_id, now)) return 'cancelled';
      const running: Filter = {
        _id,
        status: 'pending',
        'run.cancelRequestedAt': trusted({ $exists: false }),
        ...readableVersion(),
      };
      const by = interruptedBy === undefined ? {} : { 'run.interruptedBy': interruptedBy };
      const request = { $set: { 'run.cancelRequestedAt': now, ...by } };
      const requested = await settled(
        async () => (await this.#messages.updateOne(running, request)).modifiedCount === 1,
        async () => undefined,
      );
      // A newer owner may have claimed it meanwhile: he finds what was requested.
      return (await this.#isPending(_id, turnId, requested)) ? 'requested' : 'finished';
    });
  }

  drop(turnId: string): Promise<'cancelled' | 'started' | 'finished'> {
    return mongoCall(async () => {
      const _id = objectId(turnId, 'turnId');
      if (await this.#cancelWaiting(_id, Date.now())) return 'cancelled';
      return (await this.#isPending(_id, turnId)) ? 'started' : 'finished';
    });
  }

  /** Races with a claim, which raises the epoch: exactly one of the two matches. */
  async #cancelWaiting(_id: ObjectId, now: number): Promise<boolean> {
    const end = {
      status: 'cancelled',
      finishedAt: new Date(now),
      'run.phase': 'finished',
      'run.cancelRequestedAt': now,
    };
    const change = { $set: { ...end, ...notAnnounced } };
    return settled(
      async () => (await this.#messages.updateOne(unclaimed(_id), change)).modifiedCount === 1,
      // One whose answer was lost has ended the turn all the same: whoever ends it tells its followers.
      async () => (await this.#find({ _id, ...end })) !== null || undefined,
    );
  }

  /** Throws NotFoundError, and NewerVersionError unless whatever its version is does not matter. */
  async #isPending(_id: ObjectId, turnId: string, anyVersion = false): Promise<boolean> {
    const message = await this.#find({ _id, role: 'assistant' });
    if (!message) throw new NotFoundError('turn', turnId);
    if (!anyVersion) assertReadable('turn', turnId, message.schemaVersion);
    return message.status === 'pending';
  }

  takeUnannounced(turnId: string, againMs: number): Promise<StoredTurn | null> {
    return mongoCall(async () => {
      const message = await this.#unannounced.take(turnId, againMs);
      return message && turnOf(message, await this.#find({ _id: message.counterpart }));
    });
  }

  announced(turnId: string): Promise<void> {
    return mongoCall(() => this.#unannounced.announced(turnId));
  }

  answer(turnId: string, requestId: string, answer: InputAnswer): Promise<boolean> {
    return mongoCall(async () => {
      const _id = objectId(turnId, 'turnId');
      // It goes into a trusted filter below: nothing but a string may.
      if (typeof requestId !== 'string') throw new InvalidInputError('requestId', 'must be a string');
      const open = { requestId, state: 'open', answer: { $exists: false } };
      const waiting: Filter = {
        _id,
        role: 'assistant',
        status: 'pending',
        requests: trusted({ $elemMatch: open }),
        ...readableVersion(),
      };
      const text = JSON.stringify(answer);
      const stored: Filter = { _id, requests: trusted({ $elemMatch: { requestId, answer: text } }) };
      const written = await settled(
        async () =>
          (await this.#messages.updateOne(waiting, { $set: { 'requests.$.answer': text } })).modifiedCount ===
          1,
        // The same answer of somebody else at the same moment is as good as ours.
        async () => (await this.#find(stored)) !== null || undefined,
      );
      if (written) return true;
      const message = await this.#find({ _id, role: 'assistant' });
      if (!message) throw new NotFoundError('turn', turnId);
      assertReadable('turn', turnId, message.schemaVersion);
      if (!message.requests.some((request) => request.requestId === requestId))
        throw new NotFoundError('request', requestId);
      return false;
    });
  }

  pending(before: number, limit: number, after?: PageStart): Promise<readonly PendingTurn[]> {
    return mongoCall(() => pageOfTurns(this.#messages, { status: 'pending' }, before, limit, after));
  }

  unannounced(before: number, limit: number, after?: PageStart): Promise<readonly PendingTurn[]> {
    return mongoCall(() =>
      pageOfTurns(this.#messages, { 'run.announceFrom': dueToAnnounce() }, before, limit, after),
    );
  }

  abandon(turnId: string, failure: TurnFailure): Promise<StoredTurn | null> {
    return mongoCall(async () => {
      const message = await abandoned(this.#messages, this.#conversations, turnId, failure);
      return message && turnOf(message, await this.#find({ _id: message.counterpart }));
    });
  }

  newMessageId(): string {
    return String(new mongoose.Types.ObjectId());
  }

  stored(messageIds: readonly string[]): Promise<ReadonlySet<string>> {
    return mongoCall(async () => {
      const _id = trusted({ $in: messageIds.map((id) => objectId(id, 'messageId')) });
      const found = await this.#messages.find({ _id } as Filter, { _id: 1 }).lean<MessageDoc[]>();
      return new Set(found.map((message) => String(message._id)));
    });
  }

  waiting(turnId: string): Promise<WaitingTurn | null> {
    return mongoCall(async () => {
      const filter: Filter = { _id: objectId(turnId, 'turnId'), role: 'assistant' };
      const found = await this.#messages.findOne(filter, waitingFields).lean<MessageDoc>();
      assertReadable('turn', turnId, found?.schemaVersion);
      return found && waitingOf(found, this.#collection);
    });
  }

  /** Why a turn that is not its conversation's first, or has no conversation, cannot be claimed. */
  async #unclaimed(
    _id: ObjectId,
    conversationId: string,
    conversation: TurnConversation | null,
    first: MessageDoc | null,
  ): Promise<ClaimResult> {
    const message = await this.#find({ _id, role: 'assistant' });
    if (!message) return { kind: 'missing' };
    assertReadable('turn', String(_id), message.schemaVersion);
    if (message.status !== 'pending') return { kind: 'finished' };
    // A job that names another conversation than the turn's says nothing about either.
    if (storedIdText(message.conversation) !== conversationId) return { kind: 'missing' };
    if (!conversation) return { kind: 'conversation-deleted' };
    if (!first) return { kind: 'missing' };
    return { kind: 'behind', turnId: String(first._id) };
  }

  async #find(filter: Record<string, unknown>): Promise<MessageDoc | null> {
    return this.#messages.findOne(filter).lean<MessageDoc>();
  }
}
