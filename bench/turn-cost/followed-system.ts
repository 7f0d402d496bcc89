import { Redis } from 'ioredis';
import type { Turns } from '../../src/index.ts';
import { feed, type Load, type Pass, timed } from '../fifo/load.ts';
import { startOwnSystem } from '../fifo/own-system.ts';
import { sleepingUpstream } from '../fifo/sleeping-upstream.ts';
import { type Counts, difference, redisCommands, sum } from './commands.ts';

export interface FollowedPass extends Pass {
  /** From the call of `enqueue` to the follower's first piece of text, of each turn whose conversation was idle. */
  readonly firstDeltaMs: readonly number[];
}

export interface CountedPass {
  readonly mongoCommands: number;
  readonly mongoByName: Counts;
  readonly redisCommands: number;
  readonly redisByName: Counts;
}

export interface FollowedSystem {
  readonly turns: Turns;
  newConversation(): Promise<string>;
  pass(): Promise<FollowedPass>;
  countedPass(): Promise<CountedPass>;
  stop(): Promise<void>;
}

const deltas = 20;
/** A turn of this text says nothing for so many ms, and ends then. */
export const silent = (ms: number): string => `silent ${ms}`;

/** Web side and worker in this process; each turn of a pass is followed to its end. */
export async function startFollowedSystem(
  redisUrl: string,
  mongo: string,
  name: string,
  load: Load,
  monitored = false,
): Promise<FollowedSystem> {
  const silence = (text: string) => /^silent (\d+)$/.exec(text)?.[1];
  const upstream = sleepingUpstream(
    (text) => Number(silence(text) ?? load.sleepsMs[Number(text)] ?? 0),
    (text) => (silence(text) === undefined ? deltas : 0),
  );
  const system = await startOwnSystem({
    redis: redisUrl,
    mongo: mongo.replace(/\/[^/]*$/, `/${name}${monitored ? '?monitorCommands=true' : ''}`),
    prefix: name,
    upstream,
    policy: {},
  });
  const { turns } = system;
  const titles = Array.from({ length: load.conversations }, (_, at) => ({ title: `conversation ${at}` }));
  const ids = (await turns.models.Conversation.create(titles)).map(({ _id }) => String(_id));
  await system.work(load.concurrency);
  const redis = new Redis(redisUrl);
  const newConversation = async () =>
    String((await turns.models.Conversation.create({ title: 'one more' }))._id);

  const pass = async (): Promise<FollowedPass> => {
    const firstDeltaMs: number[] = [];
    const followers: Promise<void>[] = [];
    const followed = async (id: string, since: number, isIdle: boolean) => {
      let first = 0;
      for await (const entry of turns.follow(id)) {
        const says = entry.type === 'text' || (entry.type === 'part' && entry.part.type === 'text');
        if (says && first === 0) first = performance.now() - since;
      }
      if (isIdle) firstDeltaMs.push(first);
    };
    const figures = await timed(load.sleepsMs.length, async () => {
      await feed(load, async (conversation, turn) => {
        const since = performance.now();
        const { id } = await turns.enqueue({ conversation: ids[conversation] ?? '', text: String(turn) });
        followers.push(followed(id, since, turn < load.conversations));
      });
      await Promise.all(followers);
    });
    return { ...figures, firstDeltaMs };
  };

  const countedPass = async (): Promise<CountedPass> => {
    const byName: Record<string, number> = {};
    const count = ({ commandName }: { commandName: string }) => {
      byName[commandName] = (byName[commandName] ?? 0) + 1;
    };
    const client = turns.connection.getClient();
    const before = await redisCommands(redis);
    client.on('commandStarted', count);
    await pass();
    client.off('commandStarted', count);
    const redisByName = difference(await redisCommands(redis), before);
    return {
      mongoCommands: sum(byName),
      mongoByName: byName,
      redisCommands: sum(redisByName),
      redisByName,
    };
  };

  const stop = async () => {
    await redis.quit();
    await system.stop();
  };
  return { turns, newConversation, pass, countedPass, stop };
}
