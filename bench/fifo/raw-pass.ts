import { Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import { countdown, feed, type Load, type Pass, timed } from './load.ts';

/** Jobs of BullMQ alone, which sleep: nothing is stored, no order is kept. */
export async function rawPass(redis: string, prefix: string, load: Load): Promise<Pass> {
  const { sleepsMs, concurrency } = load;
  const connection = new Redis(redis, { maxRetriesPerRequest: null });
  const queue = new Queue('jobs', { connection, prefix });
  const sleep = ({ data }: { data: { turn: number } }) =>
    new Promise((resolve) => setTimeout(resolve, sleepsMs[data.turn]));
  const worker = new Worker('jobs', sleep, { connection, prefix, concurrency });
  const all = countdown(sleepsMs.length);
  worker.on('completed', all.one);
  await Promise.all([worker.waitUntilReady(), queue.waitUntilReady()]);
  const options = { removeOnComplete: { count: 1_000 } };
  const pass = await timed(sleepsMs.length, async () => {
    await feed(load, (conversation, turn) => queue.add('job', { conversation, turn }, options));
    await all.done;
  });
  await Promise.all([worker.close(), queue.close()]);
  await connection.quit();
  return pass;
}
