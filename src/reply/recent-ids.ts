/**
 * Remembers at least the last `capacity` ids and at most twice as many. Two generations instead of one queue:
 * forgetting costs nothing per id.
 */
export class RecentIds {
  readonly #capacity: number;
  #young = new Set<string>();
  #old = new Set<string>();

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  has(id: string): boolean {
    return this.#young.has(id) || this.#old.has(id);
  }

  /** False when the id is remembered already. */
  add(id: string): boolean {
    if (this.#old.has(id)) return false;
    const { size } = this.#young;
    this.#young.add(id);
    if (this.#young.size === size) return false;
    if (size + 1 >= this.#capacity) {
      this.#old = this.#young;
      this.#young = new Set();
    }
    return true;
  }
}
