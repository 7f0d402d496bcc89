/**
 * The write that ends a turn, answered by what leaves open whether it was applied, or says that it was and is not
 * confirmed: once, and as long as anybody asks. What is stored is what counts.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { RunningWorker, TurnOutcome, Turns } from '../../src/index.ts';
import { eventually } from '../support/eventually.ts';
import { type Doc, errorReply, type MongoCommand, MongoReplyProxy } from '../support/mongo-reply-proxy.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { newConversation, runTurn } from '../support/turns.ts';

let system: TestSystem;
let proxy: MongoReplyProxy;
let turns: Turns;
let worker: RunningWorker;
let conversation: string;
let heard: TurnOutcome[] = [];

beforeAll(async () => {
  system = await startSystem();
  proxy = await MongoReplyProxy.start(system.options.mongo as string);
  turns = await system.connect();
  const app = await system.connect({ mongo: proxy.url });
  const onTurnFinished = (outcome: TurnOutcome) => void heard.push(outcome);
  worker = await app.work({ policies: { default: { ...system.policy, onTurnFinished } } });
  system.respond(() => ({ text: ['the ', 'answer'] }));
  conversation = await newConversation(turns);
}, 90_000);
afterEach(() => {
  proxy.clear();
  heard = [];
});
afterAll(async () => {
  await system.stop();
  await proxy.stop();
});

/** The update that makes a turn terminal. */
const isEnd = ({ name, body }: MongoCommand) =>
  name === 'update' &&
  (body.updates as { u?: { $set?: Doc } }[]).some(({ u }) => u?.$set?.finishedAt !== undefined);

/** The write is applied; as many nodes as were asked for have not said so. */
const unconfirmed = (code: number): Doc => ({
  ok: 1,
  n: 1,
  nModified: 1,
  writeConcernError: { code, errmsg: 'put in by a test' },
});

/** Names and numbers: `src/mongo/base/error_codes.yml` of MongoDB. */
const codes = { WriteConcernFailed: 64, UnknownReplWriteConcern: 79, ShutdownInProgress: 91 };
const concerns = {
  ...codes,
  UnsatisfiableWriteConcern: 100,
  PrimarySteppedDown: 189,
  NotWritablePrimary: 10107,
};

const cases: readonly (readonly [string, Doc, boolean])[] = [
  ...Object.entries({ ...codes, UnsatisfiableWriteConcern: 100 }).flatMap(([name, code]) => [
    [`${name}, executed`, errorReply(code), true] as const,
    [`${name}, not executed`, errorReply(code), false] as const,
  ]),
  ...Object.entries(concerns).map(
    ([name, code]) => [`applied, and ${name}`, unconfirmed(code), true] as const,
  ),
];

async function expectEndedOnce() {
  const { stored, entries, id } = await runTurn(turns, conversation, 'go');
  expect(stored).toMatchObject({ status: 'completed', text: 'the answer', run: { epoch: 1 } });
  expect(stored.error).toBeUndefined();
  expect(entries.filter(({ type }) => type === 'finished')).toMatchObject([{ status: 'completed' }]);
  await eventually(() => expect(worker.active).toBe(0));
  expect(heard).toMatchObject([{ turnId: id, status: 'completed' }]);
}

describe('the answer to the write that ends a turn', () => {
  it.each(cases)(
    'is once %s: the turn ends once, as it has ended',
    async (_, reply, executed) => {
      const { hits } = proxy.replace({ at: isEnd, executed, reply });
      await expectEndedOnce();
      expect(hits).toHaveLength(1);
    },
    30_000,
  );

  it.each(cases.filter(([, , executed]) => executed))(
    'stays %s: the turn ends once, as it has ended',
    async (_, reply, executed) => {
      proxy.replace({ at: isEnd, executed, reply, times: Number.POSITIVE_INFINITY });
      await expectEndedOnce();
    },
    30_000,
  );
});
