/**
 * Many callers who each must know how something is from now on, and cost one question: whoever comes while one is under way
 * shares the next one, which begins when that has ended. No answer is older than the call that gets it.
 */
export class AskedAnew<T> {
  readonly #asking = new Map<string, { running: Promise<T>; next?: Promise<T> }>();

  ask(key: string, question: () => Promise<T>): Promise<T> {
    const known = this.#asking.get(key);
    if (!known) return this.#begin(key, question);
    known.next ??= known.running.then(
      () => this.#begin(key, question),
      () => this.#begin(key, question),
    );
    return known.next;
  }

  #begin(key: string, question: () => Promise<T>): Promise<T> {
    const asked = { running: question() };
    this.#asking.set(key, asked);
    const done = () => {
      if (this.#asking.get(key) === asked && !('next' in asked)) this.#asking.delete(key);
    };
    asked.running.then(done, done);
    return asked.running;
  }
}
