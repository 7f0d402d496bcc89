import { type BackendFactory, createRedisBackend, type RedisQueueBackend } from 'bullmq';
import type { Redis } from 'ioredis';

/**
 * BullMQ's backend for a worker, but one that asks whether there is anything to do before it looks for it in the two
 * cases in which there is nothing, as a rule: when a wait for jobs ran out uncalled, and when it is time to check for
 * stalled jobs. The question is one command; BullMQ's scripts are seven each, however empty the queue is. What they
 * would have answered and changed is the same: without the keys that are asked for, they find nothing.
 */
export const sparingBackend =
  (redis: Redis): BackendFactory<RedisQueueBackend> =>
  (name, options, kinds) => {
    const backend = createRedisBackend(name, options, kinds);
    const waiting = ['wait', 'prioritized', 'delayed'].map((kind) => backend.toKey(kind));
    const active = backend.toKey('active');
    const plain = {
      waitForJob: backend.waitForJob.bind(backend),
      moveToActive: backend.moveToActive.bind(backend),
      moveStalledJobsToWait: backend.moveStalledJobsToWait.bind(backend),
    };
    /** A job that was called for is fetched at once, without a question. */
    let uncalled = false;
    backend.waitForJob = async (seconds) => {
      const called = await plain.waitForJob(seconds);
      uncalled = called === null;
      return called;
    };
    backend.moveToActive = async (token, worker) => {
      const ask = uncalled;
      uncalled = false;
      if (ask && (await redis.exists(waiting)) === 0) return nothing;
      return plain.moveToActive(token, worker);
    };
    backend.moveStalledJobsToWait = async () =>
      (await redis.exists(active)) === 0 ? [] : plain.moveStalledJobsToWait();
    return backend;
  };

/** As the script answers when there is no job, no limit and nothing delayed. */
const nothing = [null, 0, 0, 0];
