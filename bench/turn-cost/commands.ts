import { Redis } from 'ioredis';

export type Counts = Readonly<Record<string, number>>;

/** What Redis has done since it was started, by command, those inside of scripts included. */
export async function redisCommands(redis: Redis): Promise<Counts> {
  const stats = await redis.info('commandstats');
  const rows = [...stats.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)];
  return Object.fromEntries(rows.map(([, name = '', calls]) => [name, Number(calls)]));
}

export const difference = (after: Counts, before: Counts): Counts =>
  Object.fromEntries(Object.entries(after).map(([name, count]) => [name, count - (before[name] ?? 0)]));

export const sum = (counts: Counts): number => Object.values(counts).reduce((all, count) => all + count, 0);

/** All commands that Redis did meanwhile. */
export async function commandCount(url: string, work: () => Promise<unknown>): Promise<number> {
  const redis = new Redis(url);
  const before = await redisCommands(redis);
  await work();
  const after = await redisCommands(redis);
  await redis.quit();
  return sum(difference(after, before));
}
