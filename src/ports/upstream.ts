import type { OpenCodeEvent } from '../reply/events.ts';
import type { Exchange } from '../reply/exchange.ts';
import type { Reply } from '../reply/reply.ts';
import type { WireMessage } from '../reply/wire.ts';
import type { PersevereOptions } from '../timing/persevere.ts';
import type { PermissionRule } from '../turn/permission-rule.ts';
import type { PromptIds, PromptKeys } from '../turn/phase.ts';
import type { InputAnswer, InputRequest, StopRef, TurnFailure } from '../turn/stored-turn.ts';
import type { Verdict } from './verdict.ts';

/**
 * One OpenCode server, as a turn needs it: what is asked for here every version of it can do, and how a version does it
 * (its routes, its words, what its statuses are worth) is known behind here only. Errors: the upstream classes of
 * `errors.ts`, UnsupportedServerError. What is gone was asked for twice, by two requests: SessionNotFoundError, null and
 * false are proven. Nothing is repeated here but what says so.
 */
export interface Upstream {
  /** Its base URL without credentials; stored beside each session id. */
  readonly server: string;
  /** The same server; each request to it, of which one call may make several, is shown to `observer`. */
  noticedBy(observer: RequestObserver): Upstream;

  /** Throws ForeignAnswerError for a session that was made for another request. */
  createSession(session: NewSession, signal?: AbortSignal): Promise<MadeSession>;
  session(sessionId: string, signal?: AbortSignal): Promise<UpstreamSession>;
  sessionsIn(directory: string, signal?: AbortSignal): Promise<readonly UpstreamSession[]>;
  /** Sessions of every directory changed since then (Unix ms), children left out; the latest first, at most `limit`. */
  sessionsSince(since: number, limit: number, signal?: AbortSignal): Promise<readonly UpstreamSession[]>;
  hasMessages(sessionId: string, signal?: AbortSignal): Promise<boolean>;
  /** True when it existed. Abort a busy session first: deleting need not stop its run. */
  deleteSession(sessionId: string, signal?: AbortSignal): Promise<boolean>;
  /** Makes these the rules of a session, and of the sub-agents' sessions below it. Each request is asked with patience. */
  applyRules(
    sessionId: string,
    rules: readonly PermissionRule[],
    change: Change,
    signal: AbortSignal,
  ): Promise<RulesApplied>;

  /** What names a new prompt; to be stored before the prompt is submitted. */
  newPrompt(): PromptKeys;
  /**
   * Resolves when the server has stored the prompt; its model's run is only beginning. Any number of requests under the
   * same keys, at most one prompt: one of which nobody knows whether it arrived is never sent as another one.
   */
  submit(ids: PromptIds, prompt: Prompt, change: SubmitOptions, signal: AbortSignal): Promise<void>;
  /** Whether the server has stored the prompt. Throws SessionNotFoundError. */
  has(ids: PromptIds, signal: AbortSignal): Promise<boolean>;
  /** From here on `sink` is told of the prompt's turn. */
  follow(ids: PromptIds, options: FollowOptions, sink: UpstreamSink): FollowedPrompt;
  /** Whether the run, its session idle by now, came to an end of its own: it was not aborted, and is not lost. */
  hasEnded(exchange: Exchange): boolean;
  /** Whether an aborted run ended with whatever had it on the server, which is no more. False when nothing shows it. */
  isLost(ids: PromptIds, exchange: Exchange, signal: AbortSignal): Promise<boolean>;
  messages(sessionId: string, signal?: AbortSignal): Promise<readonly WireMessage[]>;

  isBusy(session: SessionPlace, signal: AbortSignal): Promise<boolean>;
  /** Asks what runs in a session to end, one that was deleted too, and does not wait for it: see `stop`. */
  abort(session: SessionPlace, signal?: AbortSignal): Promise<void>;
  /**
   * Ends what runs in a session, sub-agents included, and sees it end; asked again and again, and when the run of a prompt
   * that was accepted has not begun, when it begins. Never throws, and ends within twice `timeoutMs` and some seconds;
   * `signal` ends it at once, unconfirmed. Its caller has asserted that the run is his.
   */
  stop(run: StoppedRun, options: StopOptions, signal?: AbortSignal): Promise<StopResult>;

  /**
   * Brings a person's answer to what was asked. False when that is not open any more: somebody has answered it, we ourselves
   * maybe, or its run is over.
   */
  respond(ids: PromptIds, request: InputRequest, answer: InputAnswer, signal: AbortSignal): Promise<boolean>;

  /** Ids of the model providers that are set up for a directory. */
  providers(directory: string, signal?: AbortSignal): Promise<readonly string[]>;
  /**
   * A file's bytes from the server's side, or null when it gives none. `path` is below the directory. Throws
   * FileTooLargeError.
   */
  readFile(file: UpstreamFile, signal?: AbortSignal): Promise<Buffer | null>;
}

/** Must not throw. */
export interface RequestObserver {
  readonly answered?: () => void;
  readonly failed: (error: unknown) => void;
}

export interface NewSession {
  readonly title: string;
  readonly directory: string;
  readonly permission?: readonly PermissionRule[];
  /** Stored upstream; the sweeper finds sessions without a conversation by it. */
  readonly metadata: Readonly<Record<string, string>>;
}

export interface UpstreamSession {
  readonly id: string;
  /** Where its agent works; without one the server does not say. */
  readonly directory?: string;
  readonly metadata?: Readonly<Record<string, unknown>>;
  /** The last one that matches decides. */
  readonly rules: readonly PermissionRule[];
  /** Unix ms by the server's clock. */
  readonly createdAt?: number;
}

/** `elsewhere`: the folder in which it was made in place of the one that was asked for. */
export interface MadeSession extends UpstreamSession {
  readonly elsewhere?: string;
}

export type SessionPlace = Pick<StopRef, 'sessionId' | 'directory'>;

/** How something is changed upstream. */
export interface Change {
  /** Called before each request that changes something; what it throws ends the change. */
  readonly before: () => Promise<void>;
  /** How long one question is asked until it is answered; a new one for each. */
  readonly patience: () => PersevereOptions;
}

/**
 * `new-session`: only a new session can have them; some may be in force. `refused`: the server does not take them, or not as
 * they are.
 */
export type RulesApplied =
  | { readonly kind: 'in-force' | 'new-session' }
  | { readonly kind: 'refused'; readonly cause?: unknown };

export interface Prompt {
  readonly text: string;
  readonly agent?: string;
  readonly model?: { readonly providerID: string; readonly modelID: string };
  readonly variant?: string;
  readonly system?: string;
}

export interface SubmitOptions extends Change {
  /** Nothing of the turn can be upstream yet: another protocol's server gets no prompt, however patient one is. */
  readonly first: boolean;
}

export interface FollowOptions {
  /** The stream may have named the prompt before. */
  readonly told: boolean;
  /** Sub-agents' sessions that are known already. */
  readonly children: Iterable<string>;
  /** What is restored when a reading asks for it. */
  readonly reply: Reply;
}

/**
 * One subscriber's view of the event stream. `connected` is called each time the stream is live, the first time included;
 * `gap` when it broke. What came between `gap` and the next `connected` is lost: read the truth again. A sink that throws is
 * reported and keeps its subscription.
 */
export interface UpstreamSink {
  connected(): void;
  heard(told: Heard): void;
  gap(error: unknown): void;
}

export interface Heard {
  readonly event: OpenCodeEvent;
  /** It is this turn's. What was left by an earlier turn is a reason to poll at most. */
  readonly own: boolean;
  /** A sign that the model's run goes on, if it is this turn's. */
  readonly moves: boolean;
  /** The run may be over: a reason to poll. */
  readonly mayEnd: boolean;
}

/** One prompt whose events are listened to. */
export interface FollowedPrompt {
  /** Resolves once the stream is live; rejects with the last connection error when the signal aborts first. */
  ready(signal?: AbortSignal): Promise<void>;
  /** Follow one more session, for example a child that has just appeared. */
  add(sessionId: string): void;
  close(): void;
  /**
   * Reads the truth and says what it means. `restore` is for a reply that may have missed events: it is brought to what was
   * read, open questions and permissions included. Throws SessionNotFoundError, and the other errors of its requests.
   */
  read(options: ReadOptions, signal: AbortSignal): Promise<UpstreamReading>;
}

export interface ReadOptions {
  readonly restore: boolean;
  /** Ids of the requests that wait for a person here. */
  readonly waiting?: ReadonlySet<string> | undefined;
  /** The time, by upstream's clock, of the prompt over which this one was posted again: it shows that one until it has come to ours. */
  readonly postedOver?: number | undefined;
}

/** What upstream says at one moment. */
export interface UpstreamReading {
  readonly exchange: Exchange;
  readonly verdict: Verdict;
  /** How long an open verdict must at least stay as it is until it counts. */
  readonly settleMs: number;
  /** The server says that it works on it. */
  readonly busy: boolean;
  /** The last error that the stream has told of and that may be this turn's. No verdict: it names no prompt. */
  readonly streamError: TurnFailure | undefined;
  /** Sessions of sub-agents, as far as anybody has told. */
  readonly children: readonly string[];
  /** Requests that wait for a person here, and that upstream does not know any more. */
  readonly closedRequests: readonly string[];
}

/** What is to end: the run of a prompt, or without its id whatever runs in the session. */
export type StoppedRun = SessionPlace & Partial<Pick<StopRef, 'promptMessageId'>>;

export interface StopOptions {
  readonly timeoutMs: number;
  /** The prompt was posted a moment ago: the server may have accepted it and not stored it yet. */
  readonly posted?: boolean;
  /** Sub-agents' sessions that the server may not list any more. */
  readonly children?: readonly string[];
  /** The run counts as lost by what may lie: a prompt that has not begun had all the time that a start takes. */
  readonly lost?: boolean;
  /** When the run was heard to move last, on the monotonic clock. */
  readonly movedAt?: () => number;
}

export interface StopResult {
  /** As they are afterwards; null when the server could not be asked, or the session was deleted. */
  readonly messages: readonly WireMessage[] | null;
  /** The run was seen to be over. */
  readonly confirmed: boolean;
  /** Not over, yet not busy either: it has not begun. */
  readonly idle: boolean;
  /** What kept it from being seen. */
  readonly problem?: unknown;
}

export interface UpstreamFile {
  readonly directory: string;
  readonly path: string;
  readonly maxBytes: number;
}
