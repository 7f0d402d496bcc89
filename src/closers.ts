/**
 * Things to close, in the reverse order of opening. Every closer runs, also when one before it throws; then the
 * errors are thrown together.
 */
export class Closers {
  readonly #closers: { readonly name: string; readonly close: () => Promise<unknown> }[] = [];
  #closing: Promise<void> | undefined;

  add(name: string, close: () => Promise<unknown>): void {
    this.#closers.push({ name, close });
  }

  get closed(): boolean {
    return this.#closing !== undefined;
  }

  /** The second call waits for the first. Throws AggregateError with each failure under the name of its closer. */
  close(): Promise<void> {
    this.#closing ??= this.#closeAll();
    return this.#closing;
  }

  async #closeAll(): Promise<void> {
    const errors: unknown[] = [];
    for (const { name, close } of this.#closers.reverse()) {
      try {
        await close();
      } catch (cause) {
        errors.push(new Error(`closing ${name} failed`, { cause }));
      }
    }
    if (errors.length > 0) throw new AggregateError(errors, `${errors.length} of the closers failed`);
  }
}

/** What `open` has given to its closers until it fails is closed again; the error is that of `open`. */
export async function orClose<T>(open: (closers: Closers) => Promise<T>): Promise<T> {
  const closers = new Closers();
  try {
    return await open(closers);
  } catch (error) {
    await closers.close().catch(() => undefined);
    throw error;
  }
}
