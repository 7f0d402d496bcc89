import type { ErrorReporter } from '../instrumentation/error-reporter.ts';
import type { Part, ToolPart, Usage } from './part.ts';
import type { Todo } from './todo.ts';
import type { WireError, WireMessageInfo, WirePermission, WireQuestion } from './wire.ts';

/**
 * `delta` was appended. `replaced`: the text is another one, no continuation; `delta` is empty then. Deltas
 * of a part, with replacements taken whole, always concatenate to its text.
 */
export interface PartChange {
  readonly delta: string;
  readonly replaced: boolean;
}

/**
 * What happens to a reply. Every callback is optional and synchronous; one that throws is reported and hurts
 * nobody. Parts are immutable values.
 */
export interface ReplyObserver {
  partAdded?(part: Part): void;
  partChanged?(part: Part, change: PartChange): void;
  /** A text or reasoning part is complete, or a tool part is terminal. Once per part. */
  partFinalized?(part: Part): void;
  toolProgressed?(part: ToolPart): void;
  /** The list of parts was corrected: order, or parts that are no part of the answer after all. */
  partsReset?(parts: readonly Part[]): void;
  stepFinished?(usage: Usage): void;
  sessionRetried?(retry: { attempt: number; message: string; nextAt: number }): void;
  sessionErrored?(error: WireError | undefined): void;
  messageUpdated?(info: WireMessageInfo): void;
  todosChanged?(todos: readonly Todo[]): void;
  questionAsked?(question: WireQuestion): void;
  questionReplied?(requestId: string): void;
  questionRejected?(requestId: string): void;
  permissionAsked?(permission: WirePermission): void;
  permissionReplied?(requestId: string, reply: string): void;
}

type Callback = keyof ReplyObserver;
type Arguments<C extends Callback> = Parameters<NonNullable<ReplyObserver[C]>>;

/** Tells all observers, and the reporter when one of them throws. */
export class ReplyObservers {
  readonly #observers: ReplyObserver[] = [];
  readonly #reporter: ErrorReporter | undefined;

  constructor(reporter: ErrorReporter | undefined) {
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
        this.#reporter?.report(error, { action: `observer.${callback}` });
      }
    }
  }
}
