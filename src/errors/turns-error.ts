/**
 * `retry`: the same call may succeed later. `fail`: it will not, until somebody changes something.
 * `cancelled`: somebody asked for it.
 */
export type Disposition = 'retry' | 'fail' | 'cancelled';

/** Of all copies of the package in a process: a host may load it as a module and by `require`. */
const brand = Symbol.for('opencode-turns.error');

export abstract class TurnsError extends Error {
  static {
    Object.defineProperty(TurnsError.prototype, brand, { value: true });
  }

  abstract readonly code: string;
  abstract readonly disposition: Disposition;

  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = new.target.name;
  }
}

/**
 * True for every error of this library, whichever copy of the package made it, where `instanceof` knows those of its own
 * copy only. Tell them apart by `code`.
 */
export function isTurnsError(value: unknown): value is TurnsError {
  return typeof value === 'object' && value !== null && brand in value;
}

/** True for errors after which the same call may succeed later. */
export function isRetryable(error: unknown): boolean {
  return isTurnsError(error) && error.disposition === 'retry';
}

/** The message of anything thrown, for people; never an empty string. Never throws, whatever a host has thrown. */
export function messageOf(error: unknown): string {
  try {
    return error instanceof Error ? String(error.message || error.name) : String(error);
  } catch {
    return 'something that has no text';
  }
}
