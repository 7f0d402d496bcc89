import { askingCall } from './call-key.ts';
import { RecentIds } from './recent-ids.ts';
import type { WirePermission, WireQuestion } from './wire.ts';

export type AskedRequest =
  | { readonly kind: 'question'; readonly request: WireQuestion }
  | { readonly kind: 'permission'; readonly request: WirePermission };

/** What is done with a request that nobody answered in time. */
export type RequestDefault =
  | { readonly kind: 'reject' }
  | { readonly kind: 'question'; readonly answers: readonly (readonly string[])[] }
  | { readonly kind: 'permission'; readonly reply: 'once' | 'always' | 'reject'; readonly message?: string };

/** How long a request may wait, in ms, and what happens then. */
export interface RequestPolicy {
  readonly timeoutMs: number;
  readonly whenOver: RequestDefault;
}

export type PendingRequest = AskedRequest & {
  /** Unix ms. */
  readonly askedAt: number;
  /** Unix ms; `Infinity` without a limit. */
  readonly deadlineAt: number;
  readonly policy: RequestPolicy;
};

export interface OpenRequestsOptions {
  /** The wall clock of whoever owns the turn, Unix ms. */
  readonly now?: () => number;
  readonly policy?: RequestPolicy | ((asked: AskedRequest) => RequestPolicy);
}

const patient: RequestPolicy = { timeoutMs: Number.POSITIVE_INFINITY, whenOver: { kind: 'reject' } };

/** Requests that ended are remembered, so that an older report does not open them again. */
const rememberedClosed = 1_000;

/**
 * The requests of a turn that wait for a person, those of its sub-agents included (they carry the
 * child's session id). By request id, and by the tool call that asked (`callKey`). Without a clock, `askedAt` is 0 and only
 * a policy without limit makes sense.
 */
export class OpenRequests {
  readonly #now: () => number;
  readonly #policyOf: (asked: AskedRequest) => RequestPolicy;
  readonly #pending = new Map<string, PendingRequest>();
  readonly #calls = new Map<string, string>();
  readonly #closed = new RecentIds(rememberedClosed);

  constructor({ now = () => 0, policy = patient }: OpenRequestsOptions = {}) {
    this.#now = now;
    this.#policyOf = typeof policy === 'function' ? policy : () => policy;
  }

  /** False when it is known already, or has ended. */
  open(asked: AskedRequest): boolean {
    const { id } = asked.request;
    if (this.#pending.has(id) || this.#closed.has(id)) return false;
    const askedAt = this.#now();
    const policy = this.#policyOf(asked);
    this.#pending.set(id, { ...asked, askedAt, deadlineAt: askedAt + policy.timeoutMs, policy });
    const call = askingCall(asked.request);
    if (call !== undefined) this.#calls.set(call, id);
    return true;
  }

  /** Answered, rejected or gone. False when nobody waits for it. Never opens again. */
  close(requestId: string): boolean {
    this.#closed.add(requestId);
    const asked = this.#pending.get(requestId);
    const call = asked && askingCall(asked.request);
    if (call !== undefined && this.#calls.get(call) === requestId) this.#calls.delete(call);
    return this.#pending.delete(requestId);
  }

  get(requestId: string): PendingRequest | undefined {
    return this.#pending.get(requestId);
  }

  byCall(call: string): PendingRequest | undefined {
    return this.#pending.get(this.#calls.get(call) ?? '');
  }

  get pending(): readonly PendingRequest[] {
    return [...this.#pending.values()];
  }

  /** While true, nothing can happen before a person answers: inactivity is no failure. */
  get blocked(): boolean {
    return this.#pending.size > 0;
  }

  /** Those whose time is over at `at` (Unix ms). */
  overdue(at: number): readonly PendingRequest[] {
    return this.pending.filter(({ deadlineAt }) => deadlineAt <= at);
  }
}
