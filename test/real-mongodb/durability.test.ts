/** What was acknowledged is stored, whatever is killed: enqueues at full speed over an engine that dies under them. */
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { startRedis } from '../../dev/services/redis.ts';
import type { Service } from '../../dev/services/service.ts';
import { connect, ServiceUnavailableError, type Turns } from '../../src/index.ts';
import { withDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { newConversation } from '../support/turns.ts';
import { theEngine } from './engine.ts';

const crashes = 4;
const perCrash = 100;
const conversationCount = 8;

const engine = theEngine();
let redis: Service;
let turns: Turns;

beforeAll(async () => {
  redis = await startRedis(() => undefined);
  turns = await connect({
    redis: redis.url,
    mongo: withDatabase(engine.url, `durability_${process.pid}`),
    opencode: { url: 'http://127.0.0.1:1' },
    prefix: `durability-${process.pid}`,
    reporter: { report: () => undefined },
  });
  await turns.createIndexes();
});
afterAll(async () => {
  await turns.connection.dropDatabase();
  await turns.close();
  await redis.stop();
});

it('no acknowledged turn is lost, and none is there twice, over an engine that is killed', async () => {
  const conversations = await Promise.all(
    Array.from({ length: conversationCount }, () => newConversation(turns)),
  );
  const acknowledged = new Map<string, string>();
  const odd: unknown[] = [];
  let going = true;
  let failed = 0;
  const click = async (conversation: string, lane: number) => {
    for (let n = 0; going; n += 1) {
      const idempotencyKey = `${lane}-${n}`;
      for (let stored = false; !stored && going; ) {
        try {
          const { id } = await turns.enqueue({ conversation, text: idempotencyKey, idempotencyKey });
          acknowledged.set(`${conversation} ${idempotencyKey}`, id);
          stored = true;
        } catch (error) {
          failed += 1;
          if (!(error instanceof ServiceUnavailableError)) odd.push(error);
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
      }
    }
  };
  const lanes = conversations.flatMap((conversation) => [0, 1].map((lane) => click(conversation, lane)));
  for (let crash = 1; crash <= crashes; crash += 1) {
    const goal = acknowledged.size + perCrash;
    await eventually(() => expect(acknowledged.size).toBeGreaterThanOrEqual(goal), 60_000);
    await engine.crash();
    expect(await engine.runs()).toBe(false);
    await engine.up();
  }
  const goal = acknowledged.size + perCrash;
  await eventually(() => expect(acknowledged.size).toBeGreaterThanOrEqual(goal), 60_000);
  going = false;
  await Promise.all(lanes);

  expect(odd).toEqual([]);
  const { Message } = turns.models;
  const stored = await Message.find({ role: 'user' }).select({
    conversation: 1,
    idempotencyKey: 1,
    counterpart: 1,
  });
  const kept = new Map(
    stored.map((one) => [`${one.conversation} ${one.idempotencyKey}`, String(one.counterpart)]),
  );
  expect(kept.size).toBe(stored.length);
  expect([...acknowledged].filter(([key, id]) => kept.get(key) !== id)).toEqual([]);
  for (const id of acknowledged.values()) expect(await turns.get(id)).toMatchObject({ status: 'pending' });
  for (const conversation of conversations) {
    const messages = await Message.find({ conversation }).sort({ sequence: 1 }).select({ sequence: 1 });
    expect(messages.map(({ sequence }) => sequence)).toEqual(messages.map((_, at) => at + 1));
  }
  console.error(
    `durability: ${acknowledged.size} acknowledged over ${crashes} crashes, ${failed} refused, 0 lost`,
  );
}, 300_000);
