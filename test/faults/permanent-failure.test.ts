import { afterAll, beforeAll, expect, it } from '@jest/globals';
import type { StoredTurn, Turns } from '../../src/index.ts';
import { eventually } from '../support/eventually.ts';
import { errorReply, type MongoCommand, MongoReplyProxy } from '../support/mongo-reply-proxy.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { followAll, newConversation } from '../support/turns.ts';

let system: TestSystem;
let proxy: MongoReplyProxy;
let app: Turns;
let turns: Turns;

beforeAll(async () => {
  system = await startSystem();
  proxy = await MongoReplyProxy.start(system.options.mongo);
  app = await system.connect();
  turns = await system.connect({ mongo: proxy.url });
}, 90_000);
afterAll(async () => {
  await system.stop();
  await proxy.stop();
});

/** The question whose turn it is, before anything is done upstream. */
const asksOwner = ({ name, body }: MongoCommand) => {
  const [first] = (name === 'update' ? body.updates : []) as { u: Record<string, object> }[];
  return first !== undefined && JSON.stringify(Object.keys(first.u.$set ?? {})) === '["run.epoch"]';
};

it('a cancel whose abort fails for good ends the turn all the same, and leaves the run to the sweeper', async () => {
  const policies = { default: system.policy };
  // Whose turn it is counts as known for a third of the lock.
  await turns.work({ policies, lockMs: 1_500, sweeper: { everyMs: 500, minAgeMs: 0 } });
  system.respond(() => ({ text: ['one ', 'two'], ending: 'hang' }));
  const conversation = await newConversation(app);
  const { id } = await app.enqueue({ conversation, text: 'go' });
  await eventually(async () => expect((await app.get(id))?.text).toBe('one two'), 30_000);
  const refused = proxy.replace({
    at: asksOwner,
    executed: false,
    reply: errorReply(121),
    times: Number.POSITIVE_INFINITY,
  });
  const [running] = system.model.turnRequests.slice(-1);
  await app.cancel(id);
  const { view } = await followAll(app, id);
  const { run, ...stored } = (await app.get(id)) as StoredTurn;
  expect(refused.hits).toHaveLength(1);
  expect(run.epoch).toBe(1);
  expect(view.end).toMatchObject({ status: 'cancelled' });
  expect(stored).toMatchObject({
    status: 'cancelled',
    text: 'one two',
    error: { reason: 'cancel_unconfirmed', unconfirmed: true },
  });
  await eventually(() => expect(running?.outcome).toBe('aborted'), 30_000);
  await eventually(async () => expect((await app.get(id))?.run).not.toHaveProperty('openStops'), 30_000);
}, 90_000);
