import { type Clock, systemClock } from '../timing/clock.ts';
import type { PollingWorker } from './polling-worker.ts';

/** How long a worker without jobs may take to hang up. */
const closeMs = 1_000;

/**
 * Closes a BullMQ worker in bounded time, and abandons it after that. BullMQ 6.7 waits for the `end` of its blocking
 * connection, which ioredis 6.0 never tells when it is disconnected between two tries to reach Redis, and for jobs
 * that wait for an answer of Redis: a worker that leaves while Redis is away or frozen would never have left.
 */
export async function closeWorker(
  worker: Pick<PollingWorker<never, never, never>, 'close' | 'abandon'>,
  clock: Clock = systemClock,
): Promise<void> {
  let cancel = (): void => undefined;
  const limit = new Promise<void>((resolve) => {
    cancel = clock.setTimer(
      closeMs,
      () => {
        worker.abandon();
        resolve();
      },
      { ref: true },
    );
  });
  await Promise.race([worker.close(), limit]).finally(() => cancel());
}
