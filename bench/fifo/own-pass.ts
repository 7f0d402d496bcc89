import { Redis } from 'ioredis';
import { countdown, feed, type Load, type Pass, timed } from './load.ts';
import { startOwnSystem } from './own-system.ts';
import { type SleepingUpstream, sleepingUpstream } from './sleeping-upstream.ts';

export interface OwnPass extends Pass {
  readonly redisCommandsPerTurn: number;
  /** 0 unless the database's URL says `monitorCommands=true`. */
  readonly mongoCommandsPerTurn: number;
}

/** Turns through the product's queue and worker. Throws when one was lost, doubled, or came out of order. */
export async function ownPass(redis: string, mongo: string, name: string, load: Load): Promise<OwnPass> {
  const { sleepsMs, concurrency } = load;
  const upstream = sleepingUpstream((text) => sleepsMs[Number(text)] ?? 0);
  const all = countdown(sleepsMs.length);
  const system = await startOwnSystem({
    redis,
    mongo: mongo.replace(/\/[^/]*$/, `/${name}`),
    prefix: name.replace(/\?.*/, ''),
    upstream,
    policy: { onTurnFinished: all.one },
  });
  const { turns } = system;
  const titles = Array.from({ length: load.conversations }, (_, at) => ({ title: `conversation ${at}` }));
  const conversations = await turns.models.Conversation.create(titles);
  let mongoCommands = 0;
  turns.connection.getClient().on('commandStarted', () => {
    mongoCommands += 1;
  });
  const observer = new Redis(redis);
  await system.work(concurrency);
  const before = await commandsOf(observer);
  const pass = await timed(sleepsMs.length, async () => {
    await feed(load, (conversation, turn) =>
      turns.enqueue({ conversation: String(conversations[conversation]?._id), text: String(turn) }),
    );
    await all.done;
  });
  const redisCommands = (await commandsOf(observer)) - before;
  const perTurn = (count: number) => count / sleepsMs.length;
  const result = {
    ...pass,
    redisCommandsPerTurn: perTurn(redisCommands),
    mongoCommandsPerTurn: perTurn(mongoCommands),
  };
  checkOrder(upstream, load);
  const completed = await turns.models.Message.countDocuments({ role: 'assistant', status: 'completed' });
  if (completed !== sleepsMs.length)
    throw new Error(`${completed} of ${sleepsMs.length} turns are completed`);
  await observer.quit();
  await system.stop();
  return result;
}

/** What Redis did, the commands inside of scripts included. */
async function commandsOf(redis: Redis): Promise<number> {
  const stats = await redis.info('commandstats');
  const calls = [...stats.matchAll(/^cmdstat_[^:]+:calls=(\d+)/gm)].map(([, count]) => Number(count));
  return calls.reduce((sum, count) => sum + count, 0);
}

function checkOrder({ prompts, overlaps }: SleepingUpstream, { conversations, sleepsMs }: Load): void {
  const bySession = [...prompts.values()].map((texts) => texts.map(Number));
  if (overlaps > 0) throw new Error(`${overlaps} prompts came while their session was busy`);
  if (bySession.length !== conversations)
    throw new Error(`${bySession.length} sessions for ${conversations} conversations`);
  for (const turns of bySession) {
    const first = (turns[0] ?? 0) % conversations;
    const wanted = sleepsMs.map((_, turn) => turn).filter((turn) => turn % conversations === first);
    if (turns.join() !== wanted.join()) throw new Error(`a conversation's turns came as ${turns.join()}`);
  }
}
