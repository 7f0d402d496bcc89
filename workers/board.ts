/** The queue board: BOARD_USER, BOARD_PASSWORD, BOARD_HOST (127.0.0.1), BOARD_PORT (3100), BOARD_BASE_PATH (/board), REDIS_URL. */
import './plainly.ts';
import { defaultPrefix } from '../src/bullmq/turn-job.ts';
import { BullTurnJobs } from '../src/bullmq/turn-jobs.ts';
import { consoleReporter } from '../src/instrumentation/error-reporter.ts';
import { createBoard } from '../src/operate/board.ts';
import { openRedis } from '../src/redis/connection.ts';
import { maxPort, wholeNumber } from './policies.ts';

const env = process.env;
const port = wholeNumber('BOARD_PORT', env.BOARD_PORT ?? '3100', maxPort);
const redis = await openRedis(env.REDIS_URL ?? 'redis://127.0.0.1:6379', 'commands', consoleReporter);
const jobs = new BullTurnJobs(redis, env.OPENCODE_TURNS_PREFIX ?? defaultPrefix, consoleReporter);
const board = await createBoard({
  queue: jobs.queue,
  user: env.BOARD_USER ?? 'admin',
  password: env.BOARD_PASSWORD ?? '',
  host: env.BOARD_HOST ?? '127.0.0.1',
  port,
  ...(env.BOARD_BASE_PATH ? { basePath: env.BOARD_BASE_PATH } : {}),
});
console.log(JSON.stringify({ ready: true, worker: 'board', url: board.url, pid: process.pid }));

async function leave(): Promise<void> {
  await board.close();
  await jobs.close();
  await redis.quit();
}
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void leave());
