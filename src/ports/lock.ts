/**
 * A lease on a name. `fn` gets a signal that aborts with `LockLostError` when the lease cannot be kept.
 * The result of `fn` is kept even when the release fails. Throws LockHeldError after `waitMs`,
 * LockUnavailableError when Redis is away, and what `fn` throws.
 */
export interface Lock {
  run<T>(key: string, fn: (signal: AbortSignal) => Promise<T>, signal?: AbortSignal): Promise<T>;
}
