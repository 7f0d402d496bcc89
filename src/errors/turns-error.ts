/**
 * `retry`: the same call may succeed later. `fail`: it will not, until somebody changes something.
 * `cancelled`: somebody asked for it.
 */
export type Disposition = 'retry' | 'fail' | 'cancelled';

export abstract class TurnsError extends Error {
  abstract readonly code: string;
  abstract readonly disposition: Disposition;

  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = new.target.name;
  }
}
