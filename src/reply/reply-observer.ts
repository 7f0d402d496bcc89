import type { ErrorReporter } from '../instrumentation/error-reporter.ts';
import type { ChildSession } from './child-session.ts';
import type { ModelRequests } from './model-requests.ts';
import type { Part, ToolPart, Usage } from './part.ts';
import type { Todo } from './todo.ts';
import type { WireError, WireMessageInfo, WirePermission, WireQuestion } from './wire.ts';

/**
 * How a text changed: `text.slice(0, offset) + delta` is the new one. `offset` is the old length when the text
 * grew, in UTF-16 units. `replaced`: it did not merely grow; some of what was told was wrong, or is now of
 * another type. From the text at `partAdded`, all changes of a part applied in order always give its text.
 */
export interface PartChange {
  readonly offset: number;
  readonly delta: string;
  readonly replaced: boolean;
}

export interface SessionRetry {
  /** Counted by upstream from 1. */
  readonly attempt: number;
  readonly message: string;
  /** Unix ms. */
  readonly nextAt: number;
}

/**
 * What happens to a reply, told in the order in which it happens. Every callback is optional (the default is to
 * do nothing) and synchronous; one that throws is reported and hurts neither the reply nor other observers.
 * Parts are immutable values and may be kept.
 */
export interface ReplyObserver {
  /** At the end of the list. Its text may already be long: nothing of it was told before. */
  partAdded?(part: Part): void;
  /** A text or reasoning part has another text or type. */
  partChanged?(part: Part, change: PartChange): void;
  /** A text or reasoning part is complete, or a tool part is terminal. Once per part. */
  partFinalized?(part: Part): void;
  /** A tool part has another status, input, output, or anything else. */
  toolProgressed?(part: ToolPart): void;
  /** The list of parts was corrected: order, or parts that are no part of the answer after all. */
  partsReset?(parts: readonly Part[]): void;
  /** A sub-agent is known from now on. Unless the events of its session are followed, nothing comes of it. */
  childAdded?(sessionId: string): void;
  /** A sub-agent's part is new or has changed. It is no part of this reply. */
  childPartChanged?(child: ChildSession, part: Part): void;
  /**
   * A step ended, of the turn itself or of a sub-agent; `usage` is the turn's total. `isLast`: it called no tool, so
   * the model has said its last word, unless upstream compacts and goes on.
   */
  stepFinished?(usage: Usage, isLast: boolean): void;
  /** A session of the turn, a sub-agent's too, has begun one more request to the model. */
  requestBegan?(requests: ModelRequests): void;
  /** Upstream waits before it asks its model provider again; once per attempt. */
  sessionRetried?(retry: SessionRetry): void;
  /** `text` is fit for a log, not for people. `raw` may hold what the provider said. */
  sessionErrored?(text: string, raw: WireError | undefined): void;
  /** An assistant message of the turn, with its error or finish. May come several times alike. */
  messageUpdated?(info: WireMessageInfo): void;
  /** The whole list. */
  todosChanged?(todos: readonly Todo[]): void;
  /** A sub-agent's question carries the sub-agent's session id. Once per request. */
  questionAsked?(question: WireQuestion): void;
  questionReplied?(requestId: string): void;
  questionRejected?(requestId: string): void;
  permissionAsked?(permission: WirePermission): void;
  permissionReplied?(requestId: string, reply: string): void;
  /** The tool call that asked has ended without a word about its request: nobody can answer it any more. */
  requestGone?(requestId: string): void;
}

type Callback = keyof ReplyObserver;
type Arguments<C extends Callback> = Parameters<NonNullable<ReplyObserver[C]>>;

/** Tells all observers, and the reporter when one of them throws. */
export class ReplyObservers {
  readonly #observers: ReplyObserver[];
  readonly #reporter: ErrorReporter | undefined;

  constructor(observers: readonly ReplyObserver[] = [], reporter?: ErrorReporter) {
    this.#observers = [...observers];
    this.#reporter = reporter;
  }

  add(observer: ReplyObserver): void {
    this.#observers.push(observer);
  }

  tell<C extends Callback>(callback: C, ...args: Arguments<C>): void {
    for (const observer of this.#observers) {
      try {
        (observer[callback] as ((...args: Arguments<C>) => void) | undefined)?.apply(observer, args);
      } catch (error) {
        this.#report(error, callback);
      }
    }
  }

  #report(error: unknown, callback: Callback): void {
    try {
      this.#reporter?.report(error, { action: `observer.${callback}` });
    } catch {
      // A reporter that throws has no one left to tell; the turn goes on.
    }
  }
}
