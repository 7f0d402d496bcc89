import type { Redis } from 'ioredis';

/** Every key and value, as text: entries of turns (`stream`), and all else, which is what the board shows (`jobs`). */
export async function redisContents(redis: Redis): Promise<{ stream: string; jobs: string }> {
  const found = { stream: '', jobs: '' };
  for (const key of await redis.keys('*')) {
    const read = readers[await redis.type(key)];
    const place = /:turn:\{.*:entries$/.test(key) ? 'stream' : 'jobs';
    found[place] += `${key}\n${JSON.stringify(await read?.(redis, key))}\n`;
  }
  return found;
}

const readers: Readonly<Record<string, (redis: Redis, key: string) => Promise<unknown>>> = {
  string: (redis, key) => redis.get(key),
  hash: (redis, key) => redis.hgetall(key),
  list: (redis, key) => redis.lrange(key, 0, -1),
  set: (redis, key) => redis.smembers(key),
  zset: (redis, key) => redis.zrange(key, '0', '-1'),
  stream: (redis, key) => redis.xrange(key, '-', '+'),
};
