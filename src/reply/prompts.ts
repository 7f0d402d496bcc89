import type { WirePermission, WireQuestion } from './wire.ts';

export type PendingPrompt =
  | { readonly kind: 'question'; readonly request: WireQuestion }
  | { readonly kind: 'permission'; readonly request: WirePermission };

/**
 * The interactive prompts of a turn that wait for a person, those of its sub-agents included (they carry the
 * child's session id). By request id, and by the tool call that asked.
 */
export class Prompts {
  readonly #pending = new Map<string, PendingPrompt>();

  /** False when it is known already. */
  open(prompt: PendingPrompt): boolean {
    if (this.#pending.has(prompt.request.id)) return false;
    this.#pending.set(prompt.request.id, prompt);
    return true;
  }

  /** False when nobody waits for it. */
  close(requestId: string): boolean {
    return this.#pending.delete(requestId);
  }

  get(requestId: string): PendingPrompt | undefined {
    return this.#pending.get(requestId);
  }

  byCall(callId: string): PendingPrompt | undefined {
    return this.pending.find(({ request }) => request.tool?.callID === callId);
  }

  get pending(): readonly PendingPrompt[] {
    return [...this.#pending.values()];
  }

  /** While true, nothing can happen before a person answers: inactivity is no failure. */
  get blocked(): boolean {
    return this.#pending.size > 0;
  }
}
