/**
 * What reading a page and enqueueing cost in a conversation of 10,000 messages, against one of 100: the same. Some of each, in turn and in
 * one run; a call's time is the mean of many, without the slowest twentieth, in which the machine did something else.
 */
import { startMongo } from '../dev/services/mongo.ts';
import { startRedis } from '../dev/services/redis.ts';
import { connect, type Turns } from '../src/index.ts';
import { seededConversation } from './conversation/seeded.ts';
import { type BenchOptions, type BenchResult, percentile, round } from './support.ts';

const target = 1.2;
const sizes = { small: 100, large: 10_000 } as const;
type Size = keyof typeof sizes;

export async function run({ quick = false }: BenchOptions): Promise<BenchResult> {
  const [redis, mongo] = await Promise.all([startRedis(console.error), startMongo()]);
  const name = `conversation-${process.pid}`;
  const turns = await connect({
    redis: redis.url,
    mongo: mongo.url.replace(/\/[^/]*$/, `/${name}`),
    opencode: { url: 'http://127.0.0.1:1' },
    prefix: name,
  });
  await turns.createIndexes();
  const ids: Record<Size, string[]> = { small: [], large: [] };
  // Several of each, so that none of them gets long by what is measured.
  for (let count = 0; count < (quick ? 2 : 4); count += 1)
    for (const size of ['small', 'large'] as const)
      ids[size].push(await seededConversation(turns, sizes[size]));
  const pages = await measured(ids, quick ? 200 : 600, (id) => readPage(turns, id));
  const enqueues = await measured(ids, quick ? 80 : 240, (id) =>
    turns.enqueue({ conversation: id, text: 'one more' }),
  );
  await turns.connection.dropDatabase();
  await turns.close();
  await Promise.all([redis.stop(), mongo.stop()]);
  const pageRatio = round(pages.large / pages.small);
  const enqueueRatio = round(enqueues.large / enqueues.small);
  return {
    bench: 'conversation',
    target: `ms for a page of 50, and for an enqueue, at 10,000 messages ÷ the same at 100, each ≤ ${target}`,
    ok: pageRatio <= target && enqueueRatio <= target,
    pageRatio,
    enqueueRatio,
    pageMs: { small: round(pages.small, 2), large: round(pages.large, 2) },
    enqueueMs: { small: round(enqueues.small, 2), large: round(enqueues.large, 2) },
    database: mongo.description,
  };
}

/** The newest 50. Throws when that is not what they are. */
async function readPage(turns: Turns, id: string): Promise<void> {
  const { messages, before, after } = await turns.conversation(id).messages({ limit: 50 });
  if (messages.length !== 50 || before !== messages[0]?.sequence || after !== undefined)
    throw new Error(`a page of ${messages.length} messages, before ${before}, after ${after}`);
}

/** ms for one call with a conversation of each size; the first twentieth warms up. */
async function measured(
  ids: Readonly<Record<Size, readonly string[]>>,
  rounds: number,
  call: (id: string) => Promise<unknown>,
): Promise<Record<Size, number>> {
  const times: Record<Size, number[]> = { small: [], large: [] };
  for (let at = -rounds / 20; at < rounds; at += 1) {
    // Now this one first, now the other.
    for (const size of at % 2 === 0 ? (['small', 'large'] as const) : (['large', 'small'] as const)) {
      const list = ids[size];
      const id = list[(at + rounds) % list.length] as string;
      const since = performance.now();
      await call(id);
      if (at >= 0) times[size].push(performance.now() - since);
    }
  }
  return { small: mean(times.small), large: mean(times.large) };
}

function mean(times: readonly number[]): number {
  const most = percentile(times, 0.95);
  const kept = times.filter((ms) => ms <= most);
  return kept.reduce((sum, ms) => sum + ms, 0) / kept.length;
}
