import type { WirePart } from './wire.ts';

export type PartEvent =
  | { readonly kind: 'part'; readonly part: WirePart }
  | { readonly kind: 'delta'; readonly messageId: string; readonly partId: string; readonly delta: string };

/**
 * Part events that wait until it is known whose message they belong to, in order. Bounded: when there are too
 * many, all deltas go (their holes are filled by a whole text later), then the oldest parts (a poll has them).
 */
export class HeldBack {
  readonly #max: number;
  #events: PartEvent[] = [];

  constructor(max = 1_000) {
    this.#max = max;
  }

  /** False when deltas had to go, so that texts may have holes from now on. */
  add(event: PartEvent): boolean {
    this.#events.push(event);
    if (this.#events.length <= this.#max) return true;
    const parts = this.#events.filter(({ kind }) => kind === 'part');
    const lost = parts.length < this.#events.length;
    this.#events = parts.slice(-this.#max);
    return !lost;
  }

  /** Gives all that waits and starts anew. */
  take(): readonly PartEvent[] {
    const events = this.#events;
    if (events.length > 0) this.#events = [];
    return events;
  }
}
