/** How long one closer may take; each of ours is bounded far below that, unless a vendor hangs. */
const defaultLimitMs = 10_000;

/**
 * Things to close, in the reverse order of opening. Every closer runs, also when one before it throws or is not done within
 * `limitMs`; then the errors are thrown together.
 */
export class Closers {
  readonly #limitMs: number;
  readonly #closers: { readonly name: string; readonly close: () => Promise<unknown> }[] = [];
  #closing: Promise<void> | undefined;

  constructor(limitMs = defaultLimitMs) {
    this.#limitMs = limitMs;
  }

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
        await inTime(close, this.#limitMs);
      } catch (cause) {
        errors.push(new Error(`closing ${name} failed`, { cause }));
      }
    }
    if (errors.length > 0) throw new AggregateError(errors, `${errors.length} of the closers failed`);
  }
}

/** What it does after that is not waited for. */
async function inTime(close: () => Promise<unknown>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`was not done within ${ms} ms`)), ms);
  });
  try {
    await Promise.race([close(), late]);
  } finally {
    clearTimeout(timer);
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
