import { type ServiceName, ServiceUnavailableError } from '../errors.ts';
import { within } from '../timing/time-limit.ts';
import { unlessAborted } from '../timing/unless-aborted.ts';

/**
 * What the service answers, within `ms`: one that takes the question and falls silent would be waited for as long as its
 * driver likes. Throws ServiceUnavailableError then; for questions that change nothing.
 */
export function answered<T>(service: ServiceName, ms: number, ask: () => Promise<T>): Promise<T> {
  return within(ms, async (limit) => {
    try {
      return await unlessAborted(ask(), limit);
    } catch (cause) {
      if (!limit.aborted || cause !== limit.reason) throw cause;
      throw new ServiceUnavailableError(service, `did not answer within ${ms} ms`, { cause, effect: 'none' });
    }
  });
}
