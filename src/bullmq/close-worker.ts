import type { Worker } from 'bullmq';
import { type Clock, systemClock } from '../timing/clock.ts';

/** How long a worker without jobs may take to hang up. */
const closeMs = 1_000;

/**
 * Closes a BullMQ worker whose jobs have ended, in bounded time. BullMQ 6.7 waits for the `end` of its blocking
 * connection, which ioredis 6.0 never tells when it is disconnected between two tries to reach Redis: a worker
 * that leaves while Redis is away would never have left. Some timers of BullMQ go on then.
 */
export async function closeWorker(worker: Pick<Worker, 'close'>, clock: Clock = systemClock): Promise<void> {
  let cancel = (): void => undefined;
  const limit = new Promise<void>((resolve) => {
    cancel = clock.setTimer(closeMs, resolve, { ref: true });
  });
  await Promise.race([worker.close(), limit]).finally(() => cancel());
}
