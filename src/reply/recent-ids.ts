/**
 * Recognizes ids that come again, among the last `capacity` ones. Made for ids that mostly ascend, as upstream's
 * event ids do: one that is higher than all before is new without a read, any other costs one pass.
 */
export class RecentIds {
  readonly #capacity: number;
  readonly #ring: string[] = [];
  #next = 0;
  #highest = '';

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  has(id: string): boolean {
    return id <= this.#highest && this.#ring.includes(id);
  }

  /** False when the id is remembered already. */
  add(id: string): boolean {
    if (id > this.#highest) this.#highest = id;
    else if (this.#ring.includes(id)) return false;
    this.#ring[this.#next] = id;
    this.#next = (this.#next + 1) % this.#capacity;
    return true;
  }
}
