import { isRetryable } from '../errors.ts';
import { persevere } from '../timing/persevere.ts';
import { within } from '../timing/time-limit.ts';

/** A service that is away is waited for so long, each time, from the first question on. */
const awayMs = 300_000;
const awayBackoff = { firstMs: 200, maxMs: 2_000, jitter: 0.3 };

/**
 * The answer, asked for again while a service is away, until somebody has closed what asks. Throws the last error after five
 * minutes, and when the signal ends the waiting.
 */
export async function rideOut<T>(
  ask: () => Promise<T>,
  isClosed: () => boolean,
  signal: AbortSignal | undefined,
): Promise<T> {
  const again = (error: unknown) => isRetryable(error) && !isClosed();
  try {
    return await ask();
  } catch (error) {
    if (!again(error)) throw error;
    return within(awayMs, (limit) => persevere(ask, { ...awayBackoff, again }, limit), signal);
  }
}
