/**
 * What many enqueues at once of one conversation cost: a line of them must not get slower for its length. Fifty, two
 * hundred and five hundred, from one process.
 */
import { startMongo } from '../dev/services/mongo.ts';
import { startRedis } from '../dev/services/redis.ts';
import { connect, type Turns } from '../src/index.ts';
import { type BenchOptions, type BenchResult, round } from './support.ts';

const target = 2;

export async function run({ quick = false }: BenchOptions): Promise<BenchResult> {
  const [redis, mongo] = await Promise.all([startRedis(console.error), startMongo()]);
  const options = {
    redis: redis.url,
    mongo: mongo.url.replace(/\/[^/]*$/, `/burst-${process.pid}`),
    opencode: { url: 'http://127.0.0.1:1' },
    prefix: `burst-${process.pid}`,
  };
  const turns = await connect(options);
  await turns.createIndexes();
  await burst(turns, 20);
  const ms: Record<number, number> = {};
  for (const count of quick ? [50, 200] : [50, 200, 500]) ms[count] = await burst(turns, count);
  await turns.close();
  await Promise.all([redis.stop(), mongo.stop()]);
  const perTurn = (count: number) => (ms[count] ?? Number.NaN) / count;
  const ratio = round(perTurn(200) / perTurn(50));
  return {
    bench: 'burst',
    target: `ms for each of 200 enqueues at once of one conversation ÷ the same for 50 ≤ ${target}`,
    ok: ratio <= target,
    ratio,
    ms: Object.fromEntries(Object.entries(ms).map(([count, value]) => [count, round(value, 0)])),
    database: mongo.description,
  };
}

/** How long so many take. Throws when one is missing, twice, or out of the order of its numbers. */
async function burst(turns: Turns, count: number): Promise<number> {
  const { _id } = await turns.models.Conversation.create({ title: 'burst' });
  const since = performance.now();
  const all = Array.from({ length: count }, (_, at) =>
    turns.enqueue({ conversation: String(_id), text: String(at) }),
  );
  const ids = new Set((await Promise.all(all)).map(({ id }) => id));
  const took = performance.now() - since;
  const numbers = await turns.models.Message.find({ conversation: _id })
    .sort({ sequence: 1 })
    .distinct('sequence');
  const whole = numbers.every((number, at) => number === at + 1) && numbers.length === 2 * count;
  if (ids.size !== count || !whole)
    throw new Error(`${ids.size} turns and ${numbers.length} numbers of ${count}`);
  return took;
}
