import { ServiceUnavailableError } from '../errors.ts';
import { backoffMs } from '../timing/backoff.ts';
import { delay, systemClock } from '../timing/clock.ts';
import { mongoError } from './errors.ts';
import { plainCause, plainMessage } from './plain-cause.ts';
import { isDuplicate, verdictOn } from './verdicts.ts';

/** No further try begins after this time; what is away for longer is told to the caller, who has a patience of his own. */
const patienceMs = 3_000;
const backoff = { firstMs: 25, maxMs: 400, jitter: 0.5 };

/**
 * How long one call puts up with answers that pass, over all that it asks. It remembers whether any write went out
 * whose fate nobody knows: the error that is thrown at last says so, whatever the last answer was.
 */
export class Patience {
  readonly #clock = systemClock;
  /** From the first failure on: what comes before it may take as long as it takes. */
  #until: number | undefined;
  #failures = 0;
  #unknown = false;

  /** A write got this. To be said before anything else is asked, which may fail as well. */
  doubt(error: unknown): void {
    const effect = verdictOn(error)?.effect ?? 'none';
    if (effect !== 'none') this.#unknown = true;
  }

  /** A read, which may be asked again whatever its error was. Throws as `failed`. */
  async read<T>(ask: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await ask();
      } catch (error) {
        await this.failed(error);
      }
    }
  }

  /** Throws what the error means when asking again is of no use, or no longer; else waits a moment. */
  async failed(error: unknown): Promise<void> {
    const verdict = verdictOn(error);
    this.#until ??= this.#clock.monotonicMs() + patienceMs;
    const over = this.#clock.monotonicMs() >= this.#until || isClosed(error);
    if (over || !verdict || verdict.permanent) throw this.#meaning(error);
    await delay(backoffMs(this.#failures, backoff), this.#clock);
    this.#failures += 1;
  }

  #meaning(error: unknown): unknown {
    const ours = mongoError(error);
    if (!(ours instanceof ServiceUnavailableError)) return ours;
    const effect = this.#unknown ? 'unknown' : 'none';
    return new ServiceUnavailableError('mongodb', plainMessage(error), { cause: plainCause(error), effect });
  }
}

/** Whoever has closed the connection opens no other: waiting would only delay the caller. */
const isClosed = (error: unknown) =>
  /^Mongo(ClientClosed|TopologyClosed|NotConnected)Error$/.test(String((error as Error | null)?.name));

/**
 * A write that may be sent twice, whatever its answers are. `readBack` reads back what is stored: what it finds counts,
 * over any error but one that is sure to come again; undefined means "not there", and the write is sent again. Throws
 * what the driver throws when a unique index refused it and `readBack` found nothing, and as `Patience` otherwise.
 */
export async function settled<T>(
  write: () => Promise<T>,
  readBack: () => Promise<T | undefined>,
  patience = new Patience(),
): Promise<T> {
  for (;;) {
    try {
      return await write();
    } catch (error) {
      const verdict = verdictOn(error);
      const duplicate = isDuplicate(error);
      if (!verdict || (verdict.permanent && verdict.effect === 'none' && !duplicate)) throw error;
      patience.doubt(error);
      const stored = await patience.read(readBack);
      if (stored !== undefined) return stored;
      if (duplicate) throw error;
      await patience.failed(error);
    }
  }
}
