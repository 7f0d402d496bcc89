/** Processes of one deployment that are connected with different models: none touches what is another's. */
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import mongoose from 'mongoose';
import { opencodeSession, type RunningWorker, type Turns } from '../../src/index.ts';
import { serverAddress } from '../../src/opencode/address.ts';
import { openCodeClient } from '../../src/opencode/v1/client.ts';
import { metadataOf } from '../../src/session/mark.ts';
import { eventually } from '../support/eventually.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { followAll, newConversation } from '../support/turns.ts';
import { startWorkerProcess } from '../support/worker-process.ts';

const ownCollection = 'opencode_turns_conversations';

let system: TestSystem;
let host: mongoose.Connection;
let Trip: ReturnType<typeof tripOn>;
const tripOn = (connection: mongoose.Connection) =>
  connection.model('Trip', new mongoose.Schema({ title: String }).plugin(opencodeSession));
beforeAll(async () => {
  system = await startSystem();
  host = await mongoose.createConnection(system.options.mongo).asPromise();
  Trip = tripOn(host);
}, 90_000);
afterAll(async () => {
  await host?.close();
  await system?.stop();
});

const deployment = (name: string) => ({
  prefix: `${system.options.prefix}-${name}`,
  mongo: system.options.mongo,
});
const newTrip = async (): Promise<string> => {
  const trip = new Trip({ title: 'Lisbon' });
  await trip.save();
  return String(trip._id);
};
const left = (id: string) =>
  expect.arrayContaining([
    expect.objectContaining({
      error: expect.objectContaining({ code: 'foreign_conversation', turnId: id, collection: 'trips' }),
    }),
  ]);

it("a turn of another model's conversation is left to a worker of that model, and told", async () => {
  const [trips, plain] = await Promise.all([
    system.connect({ ...deployment('two'), conversations: Trip }),
    system.connect(deployment('two')),
  ]);
  const asked = countTurns('of a trip');
  const policies = { default: system.policy };
  const workers: RunningWorker[] = [await plain.work({ policies })];
  const { id } = await trips.enqueue({ conversation: await newTrip(), text: 'of a trip' });
  await eventually(async () => expect(system.reports).toEqual(left(id)));
  expect(await trips.get(id)).toMatchObject({ status: 'pending', run: { epoch: 0 } });
  workers.push(await trips.work({ policies }));
  expect((await followAll(trips, id)).view.end).toMatchObject({ status: 'completed', text: 'fine' });
  // And beside it, each its own.
  const own = await plain.enqueue({ conversation: await newConversation(plain), text: 'plain' });
  const other = await trips.enqueue({ conversation: await newTrip(), text: 'of a trip' });
  for (const [turns, turn] of [
    [plain, own],
    [trips, other],
  ] as const)
    expect((await followAll(turns, turn.id)).view.end).toMatchObject({ status: 'completed' });
  expect(asked()).toBe(2);
  await Promise.all(workers.map((worker) => worker.stop(0)));
}, 120_000);

it("a cancelled turn of another model's conversation is announced by no hook of this one", async () => {
  const name = deployment('cancelled');
  const trips = await system.connect({ ...name, conversations: Trip });
  const plain = await system.connect(name);
  const { id } = await trips.enqueue({ conversation: await newTrip(), text: 'never' });
  expect(await trips.cancel(id)).toBe('cancelled');
  const finished: string[] = [];
  const policies = (whose: string) => ({
    default: {
      ...system.policy,
      onTurnFinished: ({ turnId }: { turnId: string }) => void finished.push(`${whose} ${turnId}`),
    },
  });
  await plain.work({ policies: policies('plain') });
  await eventually(async () => expect(system.reports).toEqual(left(id)));
  await trips.work({ policies: policies('trips') });
  await eventually(async () => expect(finished).toEqual([`trips ${id}`]));
}, 60_000);

it("a session that was minted for another model's conversation is no orphan of this one's", async () => {
  const name = deployment('orphans');
  const plain = await system.connect(name);
  const { url, password } = system.opencode;
  const client = openCodeClient({ address: serverAddress(url, undefined, password) });
  const directory = system.policy.directory();
  const minted = async (collection?: string) => {
    const mark = { prefix: name.prefix, conversation: '0'.repeat(24), mint: 'm' };
    const metadata = metadataOf({ ...mark, ...(collection ? { collection } : {}) });
    return (await client.createSession({ title: 'x', directory, metadata })).id;
  };
  const [theirs, ours, older] = [await minted('trips'), await minted(ownCollection), await minted()];
  await plain.work({
    policies: { default: system.policy },
    sweeper: { everyMs: 200, minAgeMs: 1 },
  });
  const known = async () => (await client.recentSessions(0, 1_000)).map(({ id }) => id);
  await eventually(async () => {
    for (const id of [ours, older]) expect(await known()).not.toContain(id);
  });
  expect(await known()).toContain(theirs);
}, 60_000);

it("the shipped worker takes the host's own model from the module of its policies", async () => {
  const name = deployment('shipped');
  const trips: Turns = await system.connect({ ...name, conversations: Trip });
  system.respond(() => ({ text: ['fine'] }));
  const worker = await startWorkerProcess(system, {
    ...system.env,
    OPENCODE_TURNS_PREFIX: name.prefix,
    OPENCODE_TURNS_POLICIES: 'test/support/trip-policies.mjs',
  });
  const { id } = await trips.enqueue({ conversation: await newTrip(), text: 'of a trip' });
  expect((await followAll(trips, id)).view.end).toMatchObject({ status: 'completed', text: 'fine' });
  worker.kill('SIGTERM');
  expect(await worker.exited).toEqual([0, null]);
}, 90_000);

function countTurns(text: string): () => number {
  let count = 0;
  system.respond(({ userText, kind }) => {
    if (kind === 'turn' && userText.includes(text)) count += 1;
    return { text: ['fine'] };
  });
  return () => count;
}
