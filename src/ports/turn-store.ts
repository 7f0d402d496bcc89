import type { FileRef } from '../artifacts/attachment.ts';
import type { TraceCarrier } from '../instrumentation/tracer.ts';
import type { TurnConversation } from '../turn/conversation.ts';
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

export interface NewTurn {
  readonly conversationId: string;
  readonly text: string;
  readonly policy: string;
  readonly idempotencyKey?: string;
  readonly carrier?: TraceCarrier;
  readonly onBusy: 'enqueue' | 'reject';
  /** It is to go next in place of what runs: see `TurnQueue.sendNow`, which whoever finds it does. */
  readonly sendNow?: boolean;
  /** The turn that it tries again. */
  readonly retryOf?: string;
  /** What the user sent along, stored already under the id that the user's message will have. */
  readonly uploads?: { readonly messageId: string; readonly files: readonly FileRef[] };
}

export interface CreatedTurn {
  readonly turn: StoredTurn;
  /** False for the turn of an earlier call with this key. */
  readonly created: boolean;
  /** Surely its conversation's head now. False says nothing: ask `head`. */
  readonly first: boolean;
}

export type ClaimResult =
  | { readonly kind: 'claimed'; readonly turn: StoredTurn; readonly conversation: TurnConversation }
  /** Terminal already, or never existed: the job has nothing to do. */
  | { readonly kind: 'finished' }
  | { readonly kind: 'missing' }
  /** Pending, and its conversation was deleted: nobody can claim it. */
  | { readonly kind: 'conversation-deleted' }
  /** It waits, and what waits in its conversation is held. */
  | { readonly kind: 'held' }
  /** Another turn of the conversation comes first, or one is running. */
  | { readonly kind: 'behind'; readonly turnId: string };

/** Names the run that writes. A write whose fence is not the newest matches nothing. */
export interface Fence {
  readonly turnId: string;
  readonly epoch: number;
}

export type CancelResult = 'cancelled' | 'requested' | 'finished';

/**
 * Turns in the database. Errors: `ServiceUnavailableError('mongodb')` when it is away, and `NewerVersionError` for a turn that a
 * newer release has stored, or whose conversation has session data of one (`claim`): nothing is written then. Lists and
 * `head` name such turns all the same; `abandon` and `takeUnannounced` pass them over. The others are named per method. Every write of a run is fenced and throws `OwnershipLostError` when it matched nothing.
 */
export interface TurnStore {
  /** Writes user message and pending assistant message. Same idempotency key: the turn of the first call. Throws NotFoundError, TurnBusyError. */
  create(turn: NewTurn): Promise<CreatedTurn>;
  get(turnId: string): Promise<StoredTurn | null>;
  conversation(conversationId: string): Promise<TurnConversation | null>;
  /**
   * How long, in ms by the database's clock, workers have met this turn and not known its policy: since the first that
   * asked this, unless the turn was claimed meanwhile. 0 for the first, and when there is no such turn.
   */
  policySoughtMs(turnId: string): Promise<number>;
  /** Raises the epoch, so that every earlier owner is fenced off. The time of the first claim stays `run.startedAt`. */
  claim(turn: Pick<StoredTurn, 'id' | 'conversationId'>, owner: string): Promise<ClaimResult>;
  /** Read often, while the turn runs. Null when there is no such turn. */
  control(turnId: string): Promise<TurnControl | null>;
  write(fence: Fence, patch: TurnPatch): Promise<void>;
  /** The terminal write: from `pending` only, so exactly one wins. False when another terminal state was first. Throws OwnershipLostError for a newer epoch. */
  finish(fence: Fence, terminal: TerminalPatch): Promise<boolean>;
  /** After `finish`: files and requests may still be added to the finished message, by the epoch that finished it. */
  amend(fence: Fence, patch: TurnPatch): Promise<void>;
  /** As far as its job needs it: whose turn it is, under which policy, in which trace. Null when there is no such turn. */
  waiting(turnId: string): Promise<WaitingTurn | null>;
  /** The turn of the conversation that runs, or the one that is to run next. */
  head(conversationId: string): Promise<WaitingTurn | null>;
  /** A turn that no worker has claimed becomes cancelled at once; else that is stored for its owner, and for which turn. Throws NotFoundError. */
  cancel(turnId: string, interruptedBy?: string): Promise<CancelResult>;
  /** Only a turn that no worker has claimed; `started` for another one that goes on. Throws NotFoundError. */
  drop(turnId: string): Promise<'cancelled' | 'started' | 'finished'>;
  /**
   * A turn that was cancelled while it waited, or abandoned, and is not `announced`, for the one caller that is to announce it;
   * null for everybody else, until he has had `againMs` for it.
   */
  takeUnannounced(turnId: string, againMs: number): Promise<StoredTurn | null>;
  /** It was announced. Idempotent. */
  announced(turnId: string): Promise<void>;
  /** Stores a person's answer on an open request. False when it is closed or answered already. Throws NotFoundError. */
  answer(turnId: string, requestId: string, answer: InputAnswer): Promise<boolean>;
  /** An id for a message that is stored later. */
  newMessageId(): string;
  /** Those of the ids that some stored message has. */
  stored(messageIds: readonly string[]): Promise<ReadonlySet<string>>;
  /** Pending turns created before `before` (Unix ms), oldest first, at most `limit`; `after`: only those behind that one. */
  pending(
    before: number,
    limit: number,
    after?: Pick<PendingTurn, 'id' | 'createdAt'>,
  ): Promise<readonly PendingTurn[]>;
  /** The same of turns that have ended and that `takeUnannounced` would return now. */
  unannounced: TurnStore['pending'];
  /**
   * Ends a pending turn whose conversation is gone as an error, with its run upstream among `run.openStops`, fences every owner
   * off, and returns it as it is then; null when it is none, or changes at that moment.
   */
  abandon(turnId: string, failure: TurnFailure): Promise<StoredTurn | null>;
}
