import type { ControlNotifier, TurnChange } from '../ports/notifier.ts';

/** Notifies within this process, a moment later, as one over a network would. */
export class MemoryNotifier implements ControlNotifier {
  readonly #listeners = new Map<string, Set<(change: TurnChange) => void>>();

  async notify(turnId: string, change: TurnChange = 'unknown'): Promise<void> {
    const told = [...(this.#listeners.get(turnId) ?? [])];
    queueMicrotask(() => {
      for (const changed of told) if (this.#listeners.get(turnId)?.has(changed)) changed(change);
    });
  }

  listen(turnId: string, changed: (change: TurnChange) => void): () => void {
    const listeners = this.#listeners.get(turnId) ?? new Set();
    // Of two that are the same function, each is told.
    const own = (change: TurnChange) => changed(change);
    this.#listeners.set(turnId, listeners.add(own));
    return () => {
      listeners.delete(own);
      if (listeners.size === 0 && this.#listeners.get(turnId) === listeners) this.#listeners.delete(turnId);
    };
  }
}
