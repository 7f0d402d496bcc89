import { InvalidInputError } from '../errors.ts';

/**
 * Refuses what only looks like a signal: it would be found out in the middle of the work, by an error that names neither it nor
 * what to give. By its methods, since a host's signal may be of another realm or of a polyfill. Throws InvalidInputError.
 */
export function checkSignal(signal: unknown): void {
  if (signal === undefined) return;
  const { aborted, addEventListener, removeEventListener } = (signal ?? {}) as Partial<AbortSignal>;
  const methods = [addEventListener, removeEventListener].every((method) => typeof method === 'function');
  if (typeof aborted === 'boolean' && methods) return;
  throw new InvalidInputError('signal', 'must be an AbortSignal (controller.signal), or left out');
}

/** The options of a call that may be left out, with their signal checked. Throws InvalidInputError. */
export function checkCallOptions(options: unknown): void {
  if (typeof options !== 'object' || options === null)
    throw new InvalidInputError('options', 'must be an object, or left out');
  checkSignal((options as { signal?: unknown }).signal);
}
