/** Texts in order, each with the id of a document: found, added and removed by halves. */
export class SortedKeys {
  readonly #texts: string[] = [];
  readonly #ids: string[] = [];

  add(key: string, id: string): void {
    const text = textOf(key, id);
    const at = this.#from(text);
    if (this.#texts[at] === text) return;
    this.#texts.splice(at, 0, text);
    this.#ids.splice(at, 0, id);
  }

  remove(key: string, id: string): void {
    const text = textOf(key, id);
    const at = this.#from(text);
    if (this.#texts[at] !== text) return;
    this.#texts.splice(at, 1);
    this.#ids.splice(at, 1);
  }

  /** The places of the keys from `low` on and below `high`. */
  between(low: string, high: string): { readonly start: number; readonly end: number } {
    const start = this.#from(low);
    return { start, end: Math.max(start, this.#from(high)) };
  }

  /** Ids at these places, first or last one first. */
  *ids({ start, end }: { start: number; end: number }, direction: 1 | -1): Generator<string> {
    for (let step = 0; step < end - start; step += 1)
      yield this.#ids[direction === 1 ? start + step : end - 1 - step] as string;
  }

  /** The first place whose text is not lower. */
  #from(text: string): number {
    let low = 0;
    let high = this.#texts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#texts[middle] as string) < text) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** What follows a key in a longer one is above this; equal keys lie in the order of their ids. */
const textOf = (key: string, id: string) => `${key}\u0001${id}`;
