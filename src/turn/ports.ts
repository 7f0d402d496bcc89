/**
 * Everything that a turn needs from outside, on one page. Adapters implement these; the turn knows no vendor.
 * A `signal` aborts the call: the promise then rejects with the signal's reason.
 */
import type { FileRef, NewFile } from '../artifacts/attachment.ts';
import type { TraceCarrier } from '../instrumentation/tracer.ts';
import type {
  WireEvent,
  WireMessage,
  WirePermission,
  WireQuestion,
  WireSession,
  WireSessionStatus,
} from '../reply/wire.ts';
import type {
  PendingTurn,
  PromptAnswer,
  SessionRef,
  StopRef,
  StoredTurn,
  TerminalPatch,
  TurnFailure,
  TurnPatch,
  TurnRecord,
  TurnWishes,
  WaitingTurn,
} from './stored-turn.ts';
import type { StreamPlace, StreamPosition } from './stream-position.ts';
import type { TurnEnd, TurnEntryBody, TurnView } from './turn-entry.ts';

export type { FileRef, NewFile, PromptAnswer };

// ---------------------------------------------------------------- upstream

export interface PermissionRule {
  readonly permission: string;
  readonly pattern: string;
  readonly action: 'allow' | 'ask' | 'deny';
}

export interface NewSession {
  readonly title: string;
  readonly directory: string;
  readonly permission?: readonly PermissionRule[];
  /** Stored upstream; the sweeper finds sessions without a record by it. */
  readonly metadata: Readonly<Record<string, string>>;
}

export interface PromptRequest {
  readonly messageId: string;
  readonly parts: readonly { readonly id: string; readonly type: 'text'; readonly text: string }[];
  readonly agent?: string;
  readonly model?: { readonly providerID: string; readonly modelID: string };
  readonly variant?: string;
  readonly system?: string;
}

/**
 * Typed calls to one OpenCode server. Errors: the upstream classes of `errors.ts`, UnsupportedServerError. No call is
 * ever repeated here. What is gone was asked for twice, by two requests: SessionNotFoundError, null and false are proven.
 */
export interface OpenCode {
  /** The server's base URL without credentials; stored beside each session id. */
  readonly server: string;
  health(signal?: AbortSignal): Promise<{ version: string }>;
  createSession(session: NewSession, signal?: AbortSignal): Promise<WireSession>;
  getSession(sessionId: string, signal?: AbortSignal): Promise<WireSession>;
  /** Appends rules: none can be removed, and the last one that matches decides. The session as it is then. */
  addPermissions(
    sessionId: string,
    rules: readonly PermissionRule[],
    signal?: AbortSignal,
  ): Promise<WireSession>;
  /** True when it existed. Abort a busy session first: deleting does not stop its run. */
  deleteSession(sessionId: string, signal?: AbortSignal): Promise<boolean>;
  /** Also stops what runs in a session that was deleted: only the directory finds that one. */
  abortSession(sessionId: string, directory: string, signal?: AbortSignal): Promise<void>;
  sessions(directory: string, signal?: AbortSignal): Promise<readonly WireSession[]>;
  /** Sessions of every directory changed since then (Unix ms), children left out; the latest first, at most `limit`. */
  recentSessions(since: number, limit: number, signal?: AbortSignal): Promise<readonly WireSession[]>;
  children(sessionId: string, signal?: AbortSignal): Promise<readonly WireSession[]>;
  /** Resolves when the server has stored the message (204). The model's run is only beginning. */
  prompt(sessionId: string, request: PromptRequest, signal?: AbortSignal): Promise<void>;
  messages(sessionId: string, signal?: AbortSignal): Promise<readonly WireMessage[]>;
  /** Null when the server has no such message in this session: neither by its id nor in the list. Throws SessionNotFoundError. */
  message(sessionId: string, messageId: string, signal?: AbortSignal): Promise<WireMessage | null>;
  /** Idle sessions are absent. */
  statuses(directory: string, signal?: AbortSignal): Promise<Readonly<Record<string, WireSessionStatus>>>;
  questions(directory: string, signal?: AbortSignal): Promise<readonly WireQuestion[]>;
  permissions(directory: string, signal?: AbortSignal): Promise<readonly WirePermission[]>;
  /** Ids of the model providers that are set up there. */
  providers(directory: string, signal?: AbortSignal): Promise<readonly string[]>;
  /** False when the request is no longer open (already answered, or its session ended). */
  replyQuestion(
    directory: string,
    requestId: string,
    answers: readonly (readonly string[])[],
    signal?: AbortSignal,
  ): Promise<boolean>;
  rejectQuestion(directory: string, requestId: string, signal?: AbortSignal): Promise<boolean>;
  replyPermission(
    directory: string,
    requestId: string,
    reply: 'once' | 'always' | 'reject',
    message?: string,
    signal?: AbortSignal,
  ): Promise<boolean>;
  /**
   * A file's bytes from the server's side, or null when it gives none. `path` is below the directory. Throws
   * FileTooLargeError.
   */
  readFile(
    file: { readonly directory: string; readonly path: string; readonly maxBytes: number },
    signal?: AbortSignal,
  ): Promise<Buffer | null>;
}

/**
 * One subscriber's view of the event stream of a directory. `connected` is called each time the stream is
 * live, the first time included; `gap` when it broke. What came between `gap` and the next `connected` is
 * lost: read the truth again. A sink that throws is reported and keeps its subscription.
 */
export interface FeedSink {
  connected(): void;
  event(event: WireEvent): void;
  gap(error: unknown): void;
}

export interface FeedSubscription {
  /** Resolves once the stream is live; rejects with the last connection error when the signal aborts first. */
  ready(signal?: AbortSignal): Promise<void>;
  /** Follow one more session, for example a child that has just appeared. */
  add(sessionId: string): void;
  close(): void;
}

/**
 * One connection per server and directory, shared by every subscriber of the process. A sink gets the events
 * of the sessions it named, every `session.created` of the directory, and every event that carries no session id.
 */
export interface EventFeed {
  subscribe(directory: string, sessionIds: readonly string[], sink: FeedSink): FeedSubscription;
}

// ---------------------------------------------------------------- storage

export interface NewTurn {
  readonly recordId: string;
  readonly text: string;
  readonly policy: string;
  readonly idempotencyKey?: string;
  readonly carrier?: TraceCarrier;
  readonly onBusy: 'enqueue' | 'reject';
  /** What the user sent along, stored already under the id that the user's message will have. */
  readonly uploads?: { readonly messageId: string; readonly files: readonly FileRef[] };
}

export interface CreatedTurn {
  readonly turn: StoredTurn;
  /** False for the turn of an earlier call with this key. */
  readonly created: boolean;
  /** Surely its record's head now. False says nothing: ask `head`. */
  readonly first: boolean;
}

export type ClaimResult =
  | { readonly kind: 'claimed'; readonly turn: StoredTurn; readonly record: TurnRecord }
  /** Terminal already, or never existed: the job has nothing to do. */
  | { readonly kind: 'finished' }
  | { readonly kind: 'missing' }
  /** Pending, and its record was deleted: nobody can claim it. */
  | { readonly kind: 'recordless' }
  /** An earlier turn of the record comes first, or one is running. */
  | { readonly kind: 'behind'; readonly turnId: string };

/** Names the run that writes. A write whose fence is not the newest matches nothing. */
export interface Fence {
  readonly turnId: string;
  readonly epoch: number;
}

export type CancelResult = 'cancelled' | 'requested' | 'finished';

/**
 * Turns in the database. Errors: `ServiceUnavailableError('mongodb')` when it is away; the others are named
 * per method. Every write of a run is fenced and throws `LeaseLostError` when it matched nothing.
 */
export interface TurnStore {
  /** Writes user message and pending assistant message. Same idempotency key: the turn of the first call. Throws NotFoundError, TurnBusyError. */
  create(turn: NewTurn): Promise<CreatedTurn>;
  get(turnId: string): Promise<StoredTurn | null>;
  record(recordId: string): Promise<TurnRecord | null>;
  /** Raises the epoch, so that every earlier owner is fenced off. */
  claim(turn: Pick<StoredTurn, 'id' | 'recordId'>, owner: string): Promise<ClaimResult>;
  /** Read often, while the turn runs. Null when there is no such turn. */
  wishes(turnId: string): Promise<TurnWishes | null>;
  write(fence: Fence, patch: TurnPatch): Promise<void>;
  /** The terminal write: from `pending` only, so exactly one wins. False when another terminal state was first. Throws LeaseLostError for a newer epoch. */
  finish(fence: Fence, terminal: TerminalPatch): Promise<boolean>;
  /** After `finish`: files and prompts may still be added to the finished message, by the epoch that finished it. */
  amend(fence: Fence, patch: TurnPatch): Promise<void>;
  /** As far as its job needs it: whose turn it is, under which policy, in which trace. Null when there is no such turn. */
  waiting(turnId: string): Promise<WaitingTurn | null>;
  /** The pending turn with the lowest sequence of the record. */
  head(recordId: string): Promise<WaitingTurn | null>;
  /** A turn that no worker has claimed becomes cancelled at once; else the wish is stored for its owner. Throws NotFoundError. */
  cancel(turnId: string): Promise<CancelResult>;
  /** A turn that was cancelled while it waited, for the one caller that is to tell the host of it; null for everybody else. */
  takeUntold(turnId: string): Promise<StoredTurn | null>;
  /** Stores a person's answer on an open prompt. False when it is closed or answered already. Throws NotFoundError. */
  answer(turnId: string, requestId: string, answer: PromptAnswer): Promise<boolean>;
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
  /** Ends a pending turn whose record is gone as an error, fences every owner off, and answers it as it is then; else null. */
  abandon(turnId: string, failure: TurnFailure): Promise<StoredTurn | null>;
}

export interface OpenStop {
  readonly turnId: string;
  readonly recordId: string;
  readonly stops: readonly StopRef[];
  /** When the turn ended, or was created while it has not; Unix ms. */
  readonly since: number;
}

/** Runs upstream that turns have aborted and not seen to end. Errors: `ServiceUnavailableError('mongodb')`. */
export interface StopStore {
  /** Those of one turn, one record, or all; at most `limit` turns, the one that was tried last comes last. */
  open(filter: {
    readonly turnId?: string;
    readonly recordId?: string;
    readonly limit: number;
  }): Promise<readonly OpenStop[]>;
  /** Aborted once more, in vain: others come first now. */
  tried(turnId: string): Promise<void>;
  /** It was seen to be over, or nobody tries any more. Idempotent. */
  close(turnId: string, stop: StopRef): Promise<void>;
}

/** The record's session, as Session needs it. */
export interface SessionStore {
  session(recordId: string): Promise<RecordSession>;
  /**
   * Compare-and-set: stores `next` if the record still holds `expected` (null = none). False when it does not.
   * Throws NotFoundError when the record is gone, ConflictError when the session id belongs to another record.
   */
  swap(recordId: string, expected: string | null, next: SessionRef): Promise<boolean>;
  /**
   * Stores `session.rules` if the record still holds that session with the rules that were `seen`. Somebody else may have
   * changed them meanwhile: then nobody knows what is in force, and that is stored.
   */
  noteRules(recordId: string, seen: string | undefined, session: SessionRef): Promise<void>;
  /** Those of the ids that some record holds. */
  stored(sessionIds: readonly string[]): Promise<ReadonlySet<string>>;
}

export interface RecordSession {
  readonly sessionId: string | null;
  readonly server: string | null;
  readonly rules?: string | null;
  readonly title: string;
}

// ---------------------------------------------------------------- lock

/**
 * A lease on a name. `fn` gets a signal that aborts with `LockLostError` when the lease cannot be kept.
 * The result of `fn` is kept even when the release fails. Throws LockHeldError after `waitMs`,
 * LockUnavailableError when Redis is away, and what `fn` throws.
 */
export interface Lock {
  run<T>(key: string, fn: (signal: AbortSignal) => Promise<T>, signal?: AbortSignal): Promise<T>;
}

// ---------------------------------------------------------------- files

/** The attachments of one message. `attach` is idempotent by filename, also when two workers try at once. */
export interface FileStore {
  /** False when the message has a file of that name already. Throws FileTooLargeError; nothing is left behind then. */
  attach(
    messageId: string,
    file: NewFile,
    signal?: AbortSignal,
  ): Promise<{ attached: boolean; file: FileRef }>;
  list(messageId: string): Promise<readonly FileRef[]>;
  /** Files of all messages attached in that time (Unix ms), oldest first. */
  stored(range: {
    readonly from: number;
    readonly to: number;
    readonly limit: number;
  }): Promise<readonly { readonly fileId: string; readonly messageId: string }[]>;
  /** Removes the entry first and the bytes after it. False when there was none. */
  remove(fileId: string): Promise<boolean>;
  /** The bytes, in order. Throws NotFoundError. */
  read(fileId: string, signal?: AbortSignal): AsyncIterable<Uint8Array>;
}

// ---------------------------------------------------------------- followers

/**
 * The stream of entries that followers of a turn read. Fenced: opening it for an epoch shuts every older one
 * out, so that a worker that lost its turn can tell followers nothing. Its entries, from the first one on, always give
 * the whole state: whoever begins a stream anew begins it with a snapshot. Throws ServiceUnavailableError('redis').
 */
export interface TurnPublisher {
  /** Takes the stream over, under a new name; answers what followers have been told, or null when that is not kept. */
  open(fence: Fence): Promise<{ readonly view: TurnView | null; readonly at: StreamPosition }>;
  /**
   * Appends in order, all or nothing; answers the place of the last entry, or null when the stream does not stand at
   * `where`: Redis has lost it, or its last entries. Nothing comes behind `finished`. Throws LeaseLostError.
   */
  append(fence: Fence, where: StreamPlace, entries: readonly TurnEntryBody[]): Promise<StreamPosition | null>;
  /** Tells the end of a turn that nobody carries any more; `view`, what followers hold then, comes in front of it. */
  end(fence: Fence, end: TurnEnd, view?: TurnView): Promise<void>;
}

/** Nudges from other processes: `changed` means "read the stored turn again". None is needed for correctness. */
export interface TurnNudges {
  listen(turnId: string, changed: () => void): () => void;
}
