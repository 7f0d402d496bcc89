/**
 * The version that has landed and this one, over the same Redis, MongoDB and OpenCode server at once, as during a deploy: each
 * works what the other has enqueued, follows what the other tells, and adopts what the other has begun.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import mongoose from 'mongoose';
import { queueName, turnJobId } from '../../src/bullmq/turn-job.ts';
import type { TurnEntry } from '../../src/index.ts';
import { streamKeys } from '../../src/redis/turn-stream.ts';
import { deferred } from '../support/deferred.ts';
import { eventually } from '../support/eventually.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { concatenated } from '../support/turns.ts';
import { absence, landedEntry } from './landed-version.ts';
import { Side } from './side.ts';

type Version = 'the landed version' | 'this version';
const why = absence();
if (why !== undefined) process.stderr.write(`side by side: not run, since ${why}\n`);

let system: TestSystem;
let redis: Redis;
let queue: Queue;
let entries: Record<Version, string>;
let web: Record<Version, Side>;
const sides: Side[] = [];
const started = async (side: Promise<Side>) => {
  const one = await side;
  sides.push(one);
  return one;
};
const workerOf = (version: Version) => started(Side.worker(entries[version], system));
const whole = ['one ', 'two ', 'three ', 'four'];

async function start(): Promise<void> {
  system = await startSystem();
  entries = {
    'the landed version': await landedEntry(),
    'this version': `${process.cwd()}/dist/src/index.js`,
  };
  // One after the other: the indexes of both must agree.
  const landed = await started(Side.start(entries['the landed version'], system));
  const own = await started(Side.start(entries['this version'], system));
  web = { 'the landed version': landed, 'this version': own };
  redis = new Redis(system.options.redis);
  const { prefix = '' } = system.options;
  queue = new Queue(queueName, { connection: redis, prefix });
}

async function stop(): Promise<void> {
  await Promise.all(sides.map((side) => side.kill()));
  await queue?.close();
  redis?.disconnect();
  await system?.stop();
}

/** A model that stops in the middle of a text that counts, until the gate opens. */
function heldModel() {
  const gate = deferred();
  system.respond(({ userText }) =>
    userText.includes('count') ? { text: whole, gate: gate.promise, gateAt: 2 } : { text: ['fine'] },
  );
  const before = system.model.turnRequests.length;
  const prompts = (text: string) =>
    system.model.turnRequests.slice(before).filter(({ userText }) => userText.includes(text)).length;
  return { gate, prompts };
}

const numberOf = ({ id }: TurnEntry) => Number.parseInt(id, 10);
/** Every entry, once, in order, from the first to the one end; text without a hole or an overlap. */
function expectWhole(told: readonly TurnEntry[]): void {
  expect(told.map(numberOf)).toEqual(told.map((_, at) => at + 1));
  expect(concatenated(told)).toBe(whole.join(''));
  expect(told.filter(({ type }) => type === 'finished')).toHaveLength(1);
  expect(told.at(-1)).toMatchObject({ type: 'finished', status: 'completed', text: whole.join('') });
}

/** What MongoDB and Redis hold of the turn, as far as an end is concerned. */
async function endsOf(turnId: string): Promise<{ status: unknown; told: number }> {
  const connection = await mongoose.createConnection(system.options.mongo).asPromise();
  try {
    const messages = connection.collection('opencode_turns_messages');
    const message = await messages.findOne({ _id: new mongoose.Types.ObjectId(turnId) });
    const rows = await redis.xrange(streamKeys(system.options.prefix ?? '', turnId).stream, '-', '+');
    return {
      status: message?.status,
      told: rows.filter(([, [, text = '']]) => /"finished"/.test(text)).length,
    };
  } finally {
    await connection.close();
  }
}

(why === undefined ? describe : describe.skip)(`side by side${why === undefined ? '' : ` (${why})`}`, () => {
  beforeAll(start, 90_000);
  afterAll(stop);

  it.each<[Version, Version]>([
    ['the landed version', 'this version'],
    ['this version', 'the landed version'],
  ])(
    'a worker of %s dies in the middle of a turn that %s has enqueued and adopts',
    async (first, second) => {
      const { gate, prompts } = heldModel();
      const dying = await workerOf(first);
      const conversation = await web[second].conversation();
      const id = await web[second].enqueue(conversation, 'count');
      const followers = [web[first].follow(id), web[second].follow(id)];
      // One who goes from one version to the other, and back.
      const begun = web[first].follow(id);
      // The server has not seen this directory before.
      for (const { entries: told } of [...followers, begun])
        await eventually(() => expect(concatenated(told)).toBe('one two '), 60_000);
      await begun.leave();
      // Behind it, a job with what no version has written.
      const next = await web[first].enqueue(conversation, 'and then');
      const job = await queue.getJob(turnJobId(next));
      await job?.updateData({ ...job.data, later: { a: [1] }, conversation: 7 });

      await dying.kill();
      const adopting = await workerOf(second);
      await eventually(async () => expect(await web[first].get(id)).toMatchObject({ run: { epoch: 2 } }));
      const moved = web[second].follow(id, begun.entries.at(-1)?.id);
      await eventually(() =>
        expect(moved.entries).toContainEqual(expect.objectContaining({ progress: 'adopted' })),
      );
      await moved.leave();
      gate.resolve();
      const back = web[first].follow(id, moved.entries.at(-1)?.id);
      await Promise.all([...followers, back].map(({ ended }) => ended));
      for (const { entries: told } of followers) expectWhole(told);
      expectWhole([...begun.entries, ...moved.entries, ...back.entries]);
      const [stored, asSeen] = [await web[first].get(id), await web[second].get(id)];
      for (const each of [stored, asSeen])
        expect(each).toMatchObject({
          status: 'completed',
          text: whole.join(''),
          run: { epoch: 2, reruns: 0, resends: 0 },
        });
      expect(await endsOf(id)).toEqual({ status: 'completed', told: 1 });
      expect(prompts('count')).toBe(1);

      const after = web[second].follow(next);
      await after.ended;
      expect(after.entries.at(-1)).toMatchObject({ type: 'finished', status: 'completed', text: 'fine' });
      const answered = await web[first].get(next);
      expect(answered).toMatchObject({ status: 'completed', run: { epoch: 1, reruns: 0, resends: 0 } });
      // The session that one version has stored is the other one's, too.
      expect(answered.run.sessionId).toBe(stored.run.sessionId);
      expect(prompts('and then')).toBe(1);
      await adopting.kill();
    },
    180_000,
  );

  it('an older worker leaves a conversation alone whose id is no ObjectId, and works one whose id looks as one', async () => {
    const { prompts, gate } = heldModel();
    gate.resolve();
    const more = {
      prefix: `${system.options.prefix}-own`,
      mongo: system.database('own'),
      ownIds: true,
    };
    const own = await started(Side.start(entries['this version'], system, more));
    const older = await started(Side.worker(entries['the landed version'], system, more));
    const hex = String(new mongoose.Types.ObjectId());
    const [left, worked] = [
      await own.enqueue(await own.own('../Trip: {1}'), 'left'),
      await own.enqueue(await own.own(hex), 'worked'),
    ];
    await own.follow(worked).ended;
    expect(await own.get(worked)).toMatchObject({ conversationId: hex, status: 'completed' });
    // In the words of a release that knows versions, or of one from before there were any.
    const refused = /^turn\.job: .*( is stored in version 2|24 hex digits)/;
    await eventually(() => expect(older.reports).toContainEqual(expect.stringMatching(refused)));
    expect(await own.get(left)).toMatchObject({ status: 'pending', run: { phase: 'queued', epoch: 0 } });
    const newer = await started(Side.worker(entries['this version'], system, more));
    await own.follow(left).ended;
    expect(await own.get(left)).toMatchObject({
      conversationId: '../Trip: {1}',
      status: 'completed',
      run: { epoch: 1, reruns: 0, resends: 0 },
    });
    expect([prompts('left'), prompts('worked')]).toEqual([1, 1]);
    await Promise.all([own, older, newer].map((side) => side.kill()));
  }, 120_000);
});
