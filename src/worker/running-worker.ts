import type { ReadyConversation } from '../turn/conversation.ts';
import type { Policies } from '../turn/policy.ts';

export type WorkerState = 'running' | 'quiet' | 'stopped';

export interface WorkOptions<R = ReadyConversation> {
  /** Turns that run at once. Default 50: a turn waits for a model most of the time. */
  readonly concurrency?: number;
  /** The lock on a job in ms, renewed at half time. A dead worker's turn is adopted after at most lock + check. Default 15,000. */
  readonly lockMs?: number;
  /** How often locks that have run out are looked for, in ms. Default 4,000. */
  readonly stalledCheckMs?: number;
  /** The products' rules by name; jobs name one of them. */
  readonly policies: Policies<R>;
  /**
   * How long a turn whose policy is not among them is left to other workers before this one ends it as an error, since any
   * worker met it that did not know the policy. By default 600,000 ms.
   */
  readonly unknownPolicyMs?: number;
  /** How often what fell between two systems is looked for (default 15,000), and from what age on (default 10,000). */
  readonly sweeper?: { readonly everyMs?: number; readonly minAgeMs?: number };
}

/** A worker of this process. */
export interface RunningWorker {
  readonly state: WorkerState;
  /** Turns that run now. */
  readonly active: number;
  /** Takes no new turns; what runs goes on. */
  quiet(): void;
  /**
   * Ends within about `deadlineMs`: running turns may finish until then; the rest goes back to the queue at
   * once, goes on upstream, and is adopted by another worker. Returns the ids of those. The second call throws
   * IllegalStateError.
   */
  stop(deadlineMs?: number): Promise<{ handedBack: readonly string[] }>;
  /** `await using worker = await turns.work(…)`: the same as `stop()`; waits for it where it was called already. */
  [Symbol.asyncDispose](): Promise<void>;
}
