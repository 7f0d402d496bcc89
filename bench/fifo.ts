/**
 * What order, durability and adoption cost: turns through our queue, worker and database against raw BullMQ jobs
 * that sleep as long, on the same Redis, alternating in one run. Both ways are fed and worked in this process.
 * The upstream is a fake inside of it, so nothing but the queue and what it stores is measured. A turn that takes
 * 20 ms is one of no model: the same is told for turns that take longer, to show from where on the cost is lost in
 * the wait.
 */
import { startMongo } from '../dev/services/mongo.ts';
import { startRedis } from '../dev/services/redis.ts';
import { type Load, type Pass, sleeps } from './fifo/load.ts';
import { type OwnPass, ownPass } from './fifo/own-pass.ts';
import { rawPass } from './fifo/raw-pass.ts';
import { type BenchOptions, type BenchResult, median, round } from './support.ts';

const target = 0.8;

export async function run({ quick = false }: BenchOptions): Promise<BenchResult> {
  const turns = quick ? 200 : 1_000;
  const load: Load = { conversations: turns / 10, concurrency: 50, sleepsMs: sleeps(turns) };
  const rounds = quick ? 2 : 5;
  const [redis, mongo] = await Promise.all([startRedis(console.error), startMongo()]);
  const raw: Pass[] = [];
  const own: OwnPass[] = [];
  // The first round of each warms up; the driver counts its commands then, which costs time.
  let mongoCommandsPerTurn = 0;
  for (let at = 0; at <= rounds; at += 1) {
    const name = `fifo-${process.pid}-${at}${at === 0 ? '?monitorCommands=true' : ''}`;
    const ours = () => ownPass(redis.url, mongo.url, name, load);
    const theirs = () => rawPass(redis.url, `raw-${process.pid}-${at}`, load);
    const early = at % 2 === 0 ? await theirs() : undefined;
    const pass = await ours();
    const other = early ?? (await theirs());
    if (at === 0) mongoCommandsPerTurn = pass.mongoCommandsPerTurn;
    if (at === 0) continue;
    own.push(pass);
    raw.push(other);
  }
  const longer: Record<string, number> = {};
  for (const times of quick ? [10] : [10, 20, 40]) {
    const count = turns / 2;
    const slow = { ...load, sleepsMs: sleeps(count, times) };
    const ours = await ownPass(redis.url, mongo.url, `fifo-${process.pid}-x${times}`, slow);
    const theirs = await rawPass(redis.url, `raw-${process.pid}-x${times}`, slow);
    longer[`${5 * times}-${35 * times} ms`] = round(ours.turnsPerSecond / theirs.turnsPerSecond);
  }
  await Promise.all([redis.stop(), mongo.stop()]);
  const ratios = own.map(
    ({ turnsPerSecond }, at) => turnsPerSecond / (raw[at]?.turnsPerSecond ?? Number.NaN),
  );
  const ratio = round(median(ratios));
  return {
    bench: 'fifo',
    target: `turns per second ÷ raw BullMQ jobs per second with the same sleeps ≥ ${target} (median of rounds)`,
    ok: ratio >= target,
    ratio,
    ratios: ratios.map((value) => round(value)),
    ratioOfLongerTurns: longer,
    turns,
    conversations: load.conversations,
    concurrency: load.concurrency,
    turnsPerSecond: middle(own, (pass) => pass.turnsPerSecond),
    rawJobsPerSecond: middle(raw, (pass) => pass.turnsPerSecond),
    cpuMsPerTurn: middle(own, (pass) => pass.cpuMsPerTurn),
    rawCpuMsPerJob: middle(raw, (pass) => pass.cpuMsPerTurn),
    redisCommandsPerTurn: middle(own, (pass) => pass.redisCommandsPerTurn),
    mongoCommandsPerTurn: round(mongoCommandsPerTurn, 1),
    database: mongo.description,
  };
}

const middle = <T>(passes: readonly T[], figure: (pass: T) => number) => round(median(passes.map(figure)), 2);
