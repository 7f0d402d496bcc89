/**
 * What one warm turn with a follower costs: commands to MongoDB and Redis (those inside of scripts included), CPU of this
 * process, which is both the web side and the worker, and the time from `enqueue` to the first piece of text. The
 * conversations are warm (a session each), the upstream is a fake inside of this process with 20 deltas a turn. Beside it,
 * in the same run, a job of BullMQ alone: what the queue itself asks of Redis.
 */
import { startMongo } from '../dev/services/mongo.ts';
import { startRedis } from '../dev/services/redis.ts';
import { sleeps } from './fifo/load.ts';
import { rawPass } from './fifo/raw-pass.ts';
import { type BenchOptions, type BenchResult, median, round } from './support.ts';
import { commandCount } from './turn-cost/commands.ts';
import { type FollowedPass, startFollowedSystem } from './turn-cost/followed-system.ts';
import { idleFollowerCost } from './turn-cost/idle-followers.ts';

const targets = { mongoCommands: 6, redisCommands: 25, cpuMs: 3.5 };

export async function run({ quick = false }: BenchOptions): Promise<BenchResult> {
  const turns = quick ? 200 : 1_000;
  const load = { conversations: turns / 10, concurrency: 50, sleepsMs: sleeps(turns) };
  const [redis, mongo] = await Promise.all([startRedis(console.error), startMongo()]);
  const name = `turn-cost-${process.pid}`;
  const system = await startFollowedSystem(redis.url, mongo.url, name, load);
  const passes: FollowedPass[] = [];
  // The first one makes the sessions and warms up.
  for (let at = 0; at <= (quick ? 2 : 5); at += 1) {
    const pass = await system.pass();
    if (at > 0) passes.push(pass);
  }
  const followerIdleCpuMsPerS = await idleFollowerCost(system, quick ? 5_000 : 20_000);
  await system.stop();
  // Counting costs time.
  const monitored = await startFollowedSystem(redis.url, mongo.url, `${name}-counted`, load, true);
  await monitored.pass();
  const counted = await monitored.countedPass();
  await monitored.stop();
  const raw = await commandCount(redis.url, () => rawPass(redis.url, `${name}-raw`, load));
  await Promise.all([redis.stop(), mongo.stop()]);
  const cpuMs = round(median(passes.map((pass) => pass.cpuMsPerTurn)), 2);
  const mongoCommands = round(counted.mongoCommands / turns, 1);
  const redisCommands = round(counted.redisCommands / turns, 1);
  return {
    bench: 'turn-cost',
    target: `per warm turn with a follower: ≤ ${targets.mongoCommands} MongoDB commands, ≤ ${targets.redisCommands} Redis commands, ≤ ${targets.cpuMs} ms of CPU`,
    ok:
      mongoCommands <= targets.mongoCommands &&
      redisCommands <= targets.redisCommands &&
      cpuMs <= targets.cpuMs,
    mongoCommands,
    redisCommands,
    cpuMs,
    followerIdleCpuMsPerS,
    p50EnqueueToFirstDeltaMs: round(median(passes.flatMap((pass) => pass.firstDeltaMs)), 1),
    mongoCommandsByName: perTurn(counted.mongoByName, turns),
    redisCommandsByName: perTurn(counted.redisByName, turns),
    rawRedisCommands: round(raw / turns, 1),
    turnsPerSecond: round(median(passes.map((pass) => pass.turnsPerSecond)), 1),
    turns,
    conversations: load.conversations,
    database: mongo.description,
  };
}

const perTurn = (counts: Readonly<Record<string, number>>, turns: number) =>
  Object.fromEntries(
    Object.entries(counts)
      .map(([name, count]) => [name, round(count / turns, 2)] as const)
      .filter(([, count]) => count >= 0.05)
      .sort(([, a], [, b]) => b - a),
  );
