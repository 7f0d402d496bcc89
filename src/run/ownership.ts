import {
  DocumentTooLargeError,
  isRetryable,
  OwnershipLostError,
  ServiceUnavailableError,
} from '../errors.ts';
import type { Fence } from '../ports/turn-store.ts';
import { persevere } from '../timing/persevere.ts';
import { unlessAborted } from '../timing/unless-aborted.ts';
import type { StoredTurn, TurnPatch } from '../turn/stored-turn.ts';
import type { TurnDeps } from './deps.ts';
import type { StopSwitch } from './stop-switch.ts';

const storeRetry = { firstMs: 100, maxMs: 5_000, jitter: 0.3, again: isRetryable };

/** The right to change one turn, which the claim gave: all fenced writes of the run pass here, and its times come from here. */
export class Ownership {
  readonly fence: Fence;
  readonly #deps: Pick<TurnDeps, 'store' | 'clock' | 'fenceFreshMs'>;
  readonly #stopSwitch: StopSwitch;
  readonly #claimedAt: number;
  /** When the claim was answered, on the monotonic clock. */
  readonly #heardAt: number;
  /** Nobody knows how long the answer to the claim was under way. */
  #freshAt = Number.NEGATIVE_INFINITY;

  constructor(
    deps: Pick<TurnDeps, 'store' | 'clock' | 'fenceFreshMs'>,
    { id, run }: StoredTurn,
    stopSwitch: StopSwitch,
  ) {
    this.#deps = deps;
    this.#stopSwitch = stopSwitch;
    this.fence = { turnId: id, epoch: run.epoch };
    this.#claimedAt = run.claimedAt ?? deps.clock.now();
    this.#heardAt = deps.clock.monotonicMs();
  }

  /** Now by the database's clock, Unix ms: times of a turn make sense to its next owner, however wrong our clock is. */
  now(): number {
    return Math.round(this.#claimedAt + this.#deps.clock.monotonicMs() - this.#heardAt);
  }

  /**
   * A fenced write. MongoDB away: tried again until `signal` aborts, then ServiceUnavailableError; one that is under
   * way then is waited for no longer. OwnershipLostError means that somebody else owns the turn now: nothing may be
   * touched any more. DocumentTooLargeError ends the turn.
   */
  async write(patch: TurnPatch, signal: AbortSignal = this.#stopSwitch.signal): Promise<void> {
    let askedAt = 0;
    const write = () => {
      askedAt = this.#deps.clock.monotonicMs();
      return this.#deps.store.write(this.fence, patch);
    };
    try {
      await this.persist(write, signal);
    } catch (error) {
      this.noteFailure(error);
      throw error;
    }
    // What was true when it was asked may be long over when the answer is read: the process may have been frozen.
    this.#freshAt = askedAt;
  }

  /** The same perseverance for calls that no fence guards. */
  persist<T>(fn: () => Promise<T>, signal: AbortSignal = this.#stopSwitch.signal): Promise<T> {
    return persevere(() => answered(fn(), signal), { ...storeRetry, clock: this.#deps.clock }, signal);
  }

  /** Somebody else has the turn, as this error says: the run lets go of it. */
  lose(error: unknown): void {
    this.#stopSwitch.stop('ownership-lost', undefined, error);
  }

  /** A write that has failed for good ends the turn: whatever else it would do could not be stored either. */
  noteFailure(error: unknown): void {
    if (error instanceof OwnershipLostError) this.lose(error);
    else if (error instanceof DocumentTooLargeError) this.#stopSwitch.stop('budget', 'documentBytes', error);
  }

  /**
   * Before anything is changed upstream or attached: a process that was frozen (or starved) since its last fenced
   * write may have lost the turn without noticing, so it asks again. The loser of that race gets OwnershipLostError and
   * touches nothing.
   */
  async assert(signal: AbortSignal = this.#stopSwitch.signal): Promise<void> {
    signal.throwIfAborted();
    if (this.#deps.clock.monotonicMs() - this.#freshAt < this.#deps.fenceFreshMs) return;
    await this.write({}, signal);
  }
}

/**
 * The outcome of a call to the database, or ServiceUnavailableError when the signal aborts first: neither the time
 * limit nor a cancel waits for a database that says nothing. What is cut off this way may still be stored, under its
 * fence, before the next write of the run or after it.
 */
async function answered<T>(call: Promise<T>, signal: AbortSignal): Promise<T> {
  try {
    return await unlessAborted(call, signal);
  } catch (error) {
    if (!signal.aborted || error !== signal.reason) throw error;
    throw new ServiceUnavailableError('mongodb', 'has not answered in time', { cause: error });
  }
}
