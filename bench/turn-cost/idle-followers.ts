import { delay, systemClock } from '../../src/timing/clock.ts';
import { round } from '../support.ts';
import { type FollowedSystem, silent } from './followed-system.ts';

const followers = 200;
const settleMs = 2_500;

/** CPU in ms that one follower costs in a second in which its turn waits for its end: with 200 of them, less without. */
export async function idleFollowerCost(system: FollowedSystem, windowMs: number): Promise<number> {
  const { turns } = system;
  const text = silent(2 * windowMs + settleMs + 1_000);
  const { id } = await turns.enqueue({ conversation: await system.newConversation(), text });
  const alone = await cpuMsOf(windowMs);
  const reading = Array.from({ length: followers }, async () => {
    for await (const entry of turns.follow(id)) void entry;
  });
  // They read what is there.
  await cpuMsOf(settleMs);
  const followed = await cpuMsOf(windowMs);
  await Promise.all(reading);
  return round((followed - alone) / followers / (windowMs / 1_000), 4);
}

async function cpuMsOf(windowMs: number): Promise<number> {
  const before = process.cpuUsage();
  await delay(windowMs, systemClock);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1_000;
}
