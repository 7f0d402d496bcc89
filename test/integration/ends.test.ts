import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Queue } from 'bullmq';
import { turnJobId } from '../../src/bullmq/turn-job.ts';
import { TurnFailedError } from '../../src/errors.ts';
import type { TurnOutcome, Turns } from '../../src/index.ts';
import { eventually } from '../support/eventually.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { followAll, newConversation } from '../support/turns.ts';

const heard: TurnOutcome[] = [];
const notes: { what: string; facts: Readonly<Record<string, unknown>> }[] = [];
let system: TestSystem;
let turns: Turns;
let queue: Queue;

beforeAll(async () => {
  system = await startSystem();
  turns = await system.connect({
    reporter: {
      report: (error, context) => system.reports.push({ error, context }),
      note: (what, facts) => notes.push({ what, facts }),
    },
  });
  const policy = { ...system.policy, onTurnFinished: (outcome: TurnOutcome) => void heard.push(outcome) };
  await turns.work({ policies: { default: policy }, unknownPolicyMs: 300 });
  queue = new Queue('turns', {
    connection: { url: system.redis.url },
    prefix: system.options.prefix ?? '',
  });
}, 90_000);
afterAll(async () => {
  await queue.close();
  await system.stop();
});

interface Waiting {
  readonly id: string;
  readonly conversation: string;
}

const set = (id: string, fields: Record<string, unknown>) =>
  turns.models.Message.collection.updateOne(
    { _id: new turns.connection.base.Types.ObjectId(id) },
    { $set: fields },
  );
const remove = ({ conversation }: Waiting) => turns.models.Conversation.deleteOne({ _id: conversation });
/** As an owner before us has left it. */
const left = {
  phase: 'prompted',
  epoch: 1,
  reruns: 0,
  resends: 0,
  sessionId: 'ses_0000000000000000000000000a',
  directory: '/nowhere',
  promptMessageId: 'msg_0000000000000000000000000a',
  promptPartId: 'prt_0000000000000000000000000a',
};

interface End {
  readonly status: 'completed' | 'error' | 'cancelled';
  readonly reason?: string;
  /** What is done to the turn while its job is held back. */
  readonly before?: (turn: Waiting) => unknown;
  /** What is done to it once its prompt is upstream. */
  readonly during?: (turn: Waiting) => unknown;
  /** Nobody here knows this one: there is a line, and no hook. */
  readonly policy?: string;
}

const ends: Readonly<Record<string, End>> = {
  'completed by upstream': { status: 'completed' },
  'failed upstream': {
    status: 'error',
    reason: 'provider_authentication',
    before: () => system.respond(() => ({ error: { status: 401, body: {} } })),
  },
  'cancelled while it ran': {
    status: 'cancelled',
    before: () => system.respond(() => ({ text: ['some ', 'text'], ending: 'hang' })),
    during: ({ id }) => turns.cancel(id),
  },
  'cancelled while it waited': { status: 'cancelled', before: ({ id }) => turns.cancel(id) },
  'cancelled while it waited, and its conversation deleted': {
    status: 'cancelled',
    before: async (turn) => {
      await turns.cancel(turn.id);
      await remove(turn);
    },
  },
  'stored as what makes no sense': {
    status: 'error',
    reason: 'corrupt_turn',
    before: ({ id }) => set(id, { 'run.phase': 'constructor' }),
  },
  'of a policy that nobody knows': {
    status: 'error',
    reason: 'deadline_unknown_policy_ms',
    policy: 'nobody',
  },
  'its conversation deleted while it waited': {
    status: 'error',
    reason: 'conversation_gone',
    before: remove,
  },
  'its conversation deleted, an owner before us gone': {
    status: 'error',
    reason: 'conversation_gone',
    before: async (turn) => {
      await set(turn.id, { run: { ...left, server: system.opencode.url } });
      await remove(turn);
    },
  },
  'its conversation deleted, under a policy that nobody knows': {
    status: 'error',
    reason: 'conversation_gone',
    policy: 'nobody',
    before: remove,
  },
  'its conversation deleted, and who ended it died before he told': {
    status: 'error',
    reason: 'conversation_gone',
    before: async (turn) => {
      await remove(turn);
      const error = { reason: 'conversation_gone', message: 'gone' };
      const run = { ...left, phase: 'finished', announceFrom: 1 };
      await set(turn.id, { status: 'error', error, run });
    },
  },
};

describe('every end of a turn is one line, one hook, one state of its job, and the end of its followers', () => {
  it.each(Object.entries(ends))('%s', async (_, { status, reason, before, during, policy = 'default' }) => {
    system.respond(() => ({ text: ['fine'] }));
    await queue.pause();
    const conversation = await newConversation(turns);
    const { id } = await turns.enqueue({ conversation, text: 'go', policy });
    const followed = followAll(turns, id);
    await before?.({ id, conversation });
    await queue.resume();
    if (during) {
      await eventually(async () => expect((await turns.get(id))?.run.phase).toBe('prompted'), 30_000);
      await during({ id, conversation });
    }

    const end = { status, ...(reason === undefined ? {} : { error: { reason } }) };
    expect((await followed).view.end).toMatchObject(end);
    expect(await turns.get(id)).toMatchObject({ ...end, run: { phase: 'finished' } });
    // Its worker has put the job away: whatever is told has been told.
    const job = await queue.getJob(turnJobId(id));
    const state = status === 'error' ? 'failed' : 'completed';
    await eventually(async () => expect(await job?.getState()).toBe(state));

    const failed = system.reports.filter(
      ({ error }) => error instanceof TurnFailedError && error.turnId === id,
    );
    const noted = notes.filter(({ what, facts }) => what === 'turn finished' && facts.turnId === id);
    const facts = { turnId: id, policy, status, ...(reason === undefined ? {} : { reason }) };
    if (status === 'error')
      expect(failed).toMatchObject([{ error: { reason }, context: { action: 'turn.finished', ...facts } }]);
    else expect(noted).toMatchObject([{ facts }]);
    expect(failed.length + noted.length).toBe(1);
    expect(heard.filter(({ turnId }) => turnId === id)).toMatchObject(
      policy === 'default' ? [{ ...end, conversationId: conversation }] : [],
    );
  });
});
