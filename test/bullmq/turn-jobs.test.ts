import { afterAll, beforeAll } from '@jest/globals';
import { UnrecoverableError, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import { startRedis } from '../../dev/services/redis.ts';
import type { Service } from '../../dev/services/service.ts';
import { BullTurnJobs } from '../../src/bullmq/turn-jobs.ts';
import { openRedis } from '../../src/redis/connection.ts';
import { turnJobsContract } from '../contract/turn-jobs.ts';

const prefix = 'jobs-test';
const reporter = { report: () => undefined };
let service: Service;
let redis: Redis;
let connection: Redis;
let jobs: BullTurnJobs;
/** Takes jobs by hand only. */
let worker: Worker;
let count = 0;

beforeAll(async () => {
  service = await startRedis(() => undefined);
  redis = await openRedis(service.url, 'commands', reporter);
  jobs = new BullTurnJobs(redis, prefix, reporter);
  connection = await openRedis(service.url, 'worker', reporter);
  worker = new Worker('turns', null, { connection, prefix, autorun: false });
}, 60_000);
afterAll(async () => {
  await worker?.close();
  await jobs?.close();
  connection?.disconnect();
  await redis?.quit();
  await service?.stop();
});

const newTurn = () => {
  count += 1;
  const id = count.toString(16).padStart(24, '0');
  return { id, conversationId: 'c'.repeat(24), policy: 'default' };
};

turnJobsContract(async () => ({
  jobs,
  newTurn,
  state: async (turnId) => (await jobs.queue.getJob(`turn-${turnId}`))?.getState(),
  end: async (turnId, how) => {
    const job = await worker.getNextJob('token');
    if (job?.id !== `turn-${turnId}`) throw new Error(`took ${job?.id}`);
    if (how === 'completed') await job.moveToCompleted({}, 'token', false);
    else await job.moveToFailed(new UnrecoverableError('failed'), 'token', false);
  },
}));
