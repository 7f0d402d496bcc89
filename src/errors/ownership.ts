/** Locks, and the right to write of a turn. */
import { TurnsError } from './turns-error.ts';

/** Somebody else holds the lock; try again later. */
export class LockHeldError extends TurnsError {
  readonly code = 'lock_held';
  readonly disposition = 'retry';
  readonly key: string;
  constructor(key: string, options?: { cause?: unknown }) {
    super(`lock ${key} is held by another process`, options);
    this.key = key;
  }
}

/** Redis did not answer, so nobody can say whether the lock is free. */
export class LockUnavailableError extends TurnsError {
  readonly code = 'lock_unavailable';
  readonly disposition = 'retry';
  readonly key: string;
  constructor(key: string, options?: { cause?: unknown }) {
    super(`lock ${key} cannot be taken: Redis does not answer`, options);
    this.key = key;
  }
}

/** The lock expired or was taken away while the work under it was still going on. */
export class LockLostError extends TurnsError {
  readonly code = 'lock_lost';
  readonly disposition = 'retry';
  readonly key: string;
  constructor(key: string, options?: { cause?: unknown }) {
    super(`lock ${key} was lost while it was needed`, options);
    this.key = key;
  }
}

/** A write of a run matched nothing: the turn is terminal, or another worker claimed it with a newer epoch. */
export class OwnershipLostError extends TurnsError {
  readonly code = 'ownership_lost';
  readonly disposition = 'cancelled';
  readonly turnId: string;
  readonly epoch: number;
  constructor(turnId: string, epoch: number) {
    super(`turn ${turnId} no longer belongs to epoch ${epoch}`);
    this.turnId = turnId;
    this.epoch = epoch;
  }
}
