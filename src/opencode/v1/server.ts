import type { NewSession, UpstreamFile } from '../../ports/upstream.ts';
import type {
  WireEvent,
  WireMessage,
  WirePermission,
  WireQuestion,
  WireSession,
  WireSessionStatus,
} from '../../reply/wire.ts';
import type { PermissionRule } from '../../turn/permission-rule.ts';

export interface PromptRequest {
  readonly messageId: string;
  readonly parts: readonly { readonly id: string; readonly type: 'text'; readonly text: string }[];
  readonly agent?: string;
  readonly model?: { readonly providerID: string; readonly modelID: string };
  readonly variant?: string;
  readonly system?: string;
}

/**
 * Typed calls to one OpenCode 1.18 server, a method a route. Errors: the upstream classes of `errors.ts`,
 * UnsupportedServerError. No call is ever repeated here. What is gone was asked for twice, by two requests:
 * SessionNotFoundError, null and false are proven.
 */
export interface OpenCode {
  /** The server's base URL without credentials. */
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
  /** When the directory's instance began, by the server's clock (Unix ms): no run of it is older. Begins one when there is none. */
  instanceStartedAt(directory: string, signal?: AbortSignal): Promise<number>;
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
  readFile(file: UpstreamFile, signal?: AbortSignal): Promise<Buffer | null>;
}

/** What a subscriber of a directory's stream hears, as `UpstreamSink` of the port: undecoded, and whosever it is. */
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
