/** The queue board, read-only: REDIS_URL, OPENCODE_TURNS_PREFIX and OPENCODE_TURNS_BOARD_…; see docs/configuration.md. */
import './plainly.ts';
import { BullTurnJobs } from '../src/bullmq/turn-jobs.ts';
import { boardFromEnv } from '../src/config/env.ts';
import { consoleReporter } from '../src/instrumentation/error-reporter.ts';
import { createBoard } from '../src/operate/board.ts';
import { openRedis } from '../src/redis/connection.ts';

const { board: options, redis: address, prefix, connectTimeoutMs } = boardFromEnv(process.env);
const redis = await openRedis(address, 'commands', consoleReporter, connectTimeoutMs);
const jobs = new BullTurnJobs(redis, prefix, consoleReporter);
const board = await createBoard({ queue: jobs.queue, ...options });
console.log(JSON.stringify({ ready: true, worker: 'board', url: board.url, pid: process.pid }));

async function leave(): Promise<void> {
  await board.close();
  await jobs.close();
  await redis.quit();
}
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void leave());
