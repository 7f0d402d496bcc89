import { askingCall } from './call-key.ts';
import { RecentIds } from './recent-ids.ts';
import type { WirePermission, WireQuestion } from './wire.ts';

export type PromptRequest =
  | { readonly kind: 'question'; readonly request: WireQuestion }
  | { readonly kind: 'permission'; readonly request: WirePermission };

/** What is done with a prompt that nobody answered in time. */
export type PromptDefault =
  | { readonly kind: 'reject' }
  | { readonly kind: 'question'; readonly answers: readonly (readonly string[])[] }
  | { readonly kind: 'permission'; readonly reply: 'once' | 'always' | 'reject'; readonly message?: string };

/** How long a prompt may wait, in ms, and what happens then. */
export interface PromptPolicy {
  readonly timeoutMs: number;
  readonly whenOver: PromptDefault;
}

export type PendingPrompt = PromptRequest & {
  /** Unix ms. */
  readonly askedAt: number;
  /** Unix ms; `Infinity` without a limit. */
  readonly deadlineAt: number;
  readonly policy: PromptPolicy;
};

export interface PromptsOptions {
  /** The wall clock of whoever owns the turn, Unix ms. */
  readonly now?: () => number;
  readonly policy?: PromptPolicy | ((prompt: PromptRequest) => PromptPolicy);
}

const patient: PromptPolicy = { timeoutMs: Number.POSITIVE_INFINITY, whenOver: { kind: 'reject' } };

/** Requests that ended are remembered, so that an older report does not open them again. */
const rememberedClosed = 1_000;

/**
 * The interactive prompts of a turn that wait for a person, those of its sub-agents included (they carry the
 * child's session id). By request id, and by the tool call that asked (`callKey`). Without a clock, `askedAt` is 0 and only
 * a policy without limit makes sense.
 */
export class Prompts {
  readonly #now: () => number;
  readonly #policyOf: (prompt: PromptRequest) => PromptPolicy;
  readonly #pending = new Map<string, PendingPrompt>();
  readonly #calls = new Map<string, string>();
  readonly #closed = new RecentIds(rememberedClosed);

  constructor({ now = () => 0, policy = patient }: PromptsOptions = {}) {
    this.#now = now;
    this.#policyOf = typeof policy === 'function' ? policy : () => policy;
  }

  /** False when it is known already, or has ended. */
  open(prompt: PromptRequest): boolean {
    const { id } = prompt.request;
    if (this.#pending.has(id) || this.#closed.has(id)) return false;
    const askedAt = this.#now();
    const policy = this.#policyOf(prompt);
    this.#pending.set(id, { ...prompt, askedAt, deadlineAt: askedAt + policy.timeoutMs, policy });
    const call = askingCall(prompt.request);
    if (call !== undefined) this.#calls.set(call, id);
    return true;
  }

  /** Answered, rejected or gone. False when nobody waits for it. Never opens again. */
  close(requestId: string): boolean {
    this.#closed.add(requestId);
    const prompt = this.#pending.get(requestId);
    const call = prompt && askingCall(prompt.request);
    if (call !== undefined && this.#calls.get(call) === requestId) this.#calls.delete(call);
    return this.#pending.delete(requestId);
  }

  get(requestId: string): PendingPrompt | undefined {
    return this.#pending.get(requestId);
  }

  byCall(call: string): PendingPrompt | undefined {
    return this.#pending.get(this.#calls.get(call) ?? '');
  }

  get pending(): readonly PendingPrompt[] {
    return [...this.#pending.values()];
  }

  /** While true, nothing can happen before a person answers: inactivity is no failure. */
  get blocked(): boolean {
    return this.#pending.size > 0;
  }

  /** Those whose time is over at `at` (Unix ms). */
  overdue(at: number): readonly PendingPrompt[] {
    return this.pending.filter(({ deadlineAt }) => deadlineAt <= at);
  }
}
