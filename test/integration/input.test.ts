import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  connect,
  InvalidConfigError,
  InvalidInputError,
  NotFoundError,
  ServiceUnavailableError,
  type Turns,
} from '../../src/index.ts';
import { eventually } from '../support/eventually.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { followAll, newConversation, runTurn } from '../support/turns.ts';

let system: TestSystem;
let turns: Turns;

beforeAll(async () => {
  system = await startSystem();
  turns = await system.connect();
}, 90_000);
afterAll(() => system.stop());

const messages = () => turns.models.Message.countDocuments({});
const jobs = async () =>
  Number(await rawRedis((redis) => redis.zcard(`${system.options.prefix}:turns:delayed`))) +
  Number(await rawRedis((redis) => redis.llen(`${system.options.prefix}:turns:wait`)));

async function rawRedis<T>(fn: (redis: import('ioredis').Redis) => Promise<T>): Promise<T> {
  const { Redis } = await import('ioredis');
  const redis = new Redis(system.redis.url);
  try {
    return await fn(redis);
  } finally {
    redis.disconnect();
  }
}

describe('bad input is refused before anything is written', () => {
  const unknown = '0123456789abcdef01234567';
  it.each<[string, (conversation: string) => unknown, new (...args: never[]) => Error, RegExp]>([
    [
      'an unknown conversation',
      () => ({ conversation: unknown, text: 'x' }),
      NotFoundError,
      /no conversation with id/,
    ],
    [
      'an id that is none',
      () => ({ conversation: 'abc', text: 'x' }),
      InvalidInputError,
      /conversation: must be a conversation's id/,
    ],
    [
      'an operator in place of an id',
      () => ({ conversation: { $ne: null }, text: 'x' }),
      InvalidInputError,
      /conversation/,
    ],
    [
      'an operator inside a document',
      () => ({ conversation: { _id: { $gt: '' } }, text: 'x' }),
      InvalidInputError,
      /conversation/,
    ],
    ['no conversation', () => ({ text: 'x' }), InvalidInputError, /conversation/],
    [
      'empty text',
      (conversation) => ({ conversation, text: '' }),
      InvalidInputError,
      /text: must not be empty/,
    ],
    [
      'blank text',
      (conversation) => ({ conversation, text: ' \n ' }),
      InvalidInputError,
      /text: must not be empty/,
    ],
    [
      'two megabytes of text',
      (conversation) => ({ conversation, text: 'x'.repeat(2 * 1024 * 1024) }),
      InvalidInputError,
      /text: is 2097152 bytes, at most 1048576/,
    ],
    [
      'an operator in place of text',
      (conversation) => ({ conversation, text: { $gt: '' } }),
      InvalidInputError,
      /text: must be a string/,
    ],
    [
      'an operator in place of a key',
      (conversation) => ({ conversation, text: 'x', idempotencyKey: { $ne: 1 } }),
      InvalidInputError,
      /idempotencyKey/,
    ],
    [
      'an empty policy',
      (conversation) => ({ conversation, text: 'x', policy: '' }),
      InvalidInputError,
      /policy/,
    ],
    [
      'an unknown onBusy',
      (conversation) => ({ conversation, text: 'x', onBusy: 'explode' }),
      InvalidInputError,
      /onBusy/,
    ],
    ['nothing at all', () => undefined, InvalidInputError, /input/],
  ])('%s', async (_name, input, error, message) => {
    const conversation = await newConversation(turns);
    const before = await messages();
    const failed = turns.enqueue(input(conversation) as never);
    await expect(failed).rejects.toBeInstanceOf(error);
    await expect(failed).rejects.toThrow(message);
    expect(await messages()).toBe(before);
    expect(await jobs()).toBe(0);
  });

  it('ids and cursors of other calls', async () => {
    await expect(turns.get({ $ne: null } as never)).rejects.toBeInstanceOf(InvalidInputError);
    await expect(turns.get(unknown)).resolves.toBeNull();
    await expect(turns.cancel('x')).rejects.toBeInstanceOf(InvalidInputError);
    await expect(turns.cancel(unknown)).rejects.toBeInstanceOf(NotFoundError);
    await expect(followAll(turns, unknown)).rejects.toBeInstanceOf(NotFoundError);
    await expect(turns.answer(unknown, 'que_1', { kind: 'reject' })).rejects.toBeInstanceOf(NotFoundError);
    await expect(
      turns.answer(unknown, 'que_1', { kind: 'question', answers: 'Blue' } as never),
    ).rejects.toThrow(/answer.answers/);
    await expect(turns.answer(unknown, { $gt: '' } as never, { kind: 'reject' })).rejects.toBeInstanceOf(
      InvalidInputError,
    );
  });
});

describe('wrong addresses are told in bounded time', () => {
  it.each([
    ['a Redis URL that is none', { redis: 'localhost:6379' }, InvalidConfigError, /redis: must be a URL/],
    [
      'a Redis that is not there',
      { redis: 'redis://127.0.0.1:1' },
      ServiceUnavailableError,
      /redis: cannot use redis:\/\/127.0.0.1:1/,
    ],
    ['a MongoDB URL that is none', { mongo: 'http://localhost' }, InvalidConfigError, /mongo: must be a URL/],
    [
      'a MongoDB that is not there',
      { mongo: 'mongodb://127.0.0.1:1/x' },
      ServiceUnavailableError,
      /mongodb: cannot use mongodb:\/\/127.0.0.1:1/,
    ],
    ['an OpenCode URL that is none', { opencode: { url: 'nowhere' } }, InvalidConfigError, /opencode.url/],
    [
      'a relative sandbox',
      { sandboxRoot: 'here' },
      InvalidConfigError,
      /sandboxRoot: must be an absolute path/,
    ],
  ])('%s', async (_name, options, error, message) => {
    const failed = connect({ ...system.options, connectTimeoutMs: 1_000, ...options });
    await expect(failed).rejects.toBeInstanceOf(error);
    await expect(failed).rejects.toThrow(message);
  });

  it.each([
    ['a wrong password', () => ({ url: system.opencode.url, password: 'wrong' }), 'upstream_authentication'],
    ['an OpenCode that is not there', () => ({ url: 'http://127.0.0.1:1' }), 'deadline_turn_timeout_ms'],
  ])('%s ends the turn with its reason', async (_name, opencode, reason) => {
    const other = await system.connect({
      opencode: opencode(),
      prefix: `${system.options.prefix}-${reason}`,
    });
    await other.work({
      policies: {
        default: { model: 'scripted/scripted', limits: { turnTimeoutMs: 4_000, wrongAnswerTimeoutMs: 300 } },
      },
    });
    const { stored } = await runTurn(other, await newConversation(other), 'x');
    expect(stored).toMatchObject({ status: 'error', error: { reason } });
    expect(stored.text).toBe('The assistant could not finish this answer.');
    await other.close();
  });

  it('a worker without the policy of a job leaves the turn to one that has it', async () => {
    const prefix = `${system.options.prefix}-policy`;
    const other = await system.connect({ prefix });
    const without = await other.work({ policies: { another: {} } });
    const turn = await other.enqueue({
      conversation: await newConversation(other),
      text: 'x',
      policy: 'special',
    });
    const field = (name: string) => rawRedis((redis) => redis.hget(`${prefix}:turns:turn-${turn.id}`, name));
    await eventually(async () => expect(Number(await field('ats'))).toBeGreaterThanOrEqual(2));
    // It was offered, and cost no attempt.
    expect(Number((await field('atm')) ?? 0)).toBe(0);
    await without.stop(1_000);
    expect(await other.get(turn.id)).toMatchObject({ status: 'pending', run: { epoch: 0 } });
    system.respond(() => ({ text: ['found'] }));
    await other.work({
      policies: { special: { model: 'scripted/scripted' } },
      sweeper: { everyMs: 300, minAgeMs: 0 },
    });
    await eventually(
      async () => expect(await other.get(turn.id)).toMatchObject({ status: 'completed', text: 'found' }),
      30_000,
    );
    await other.close();
  });
});

describe('enqueue', () => {
  it('with the same idempotency key is one turn, also for a hundred calls at once', async () => {
    const conversation = await newConversation(turns);
    const calls = Array.from({ length: 100 }, () =>
      turns.enqueue({ conversation, text: 'x', idempotencyKey: 'k' }),
    );
    expect(new Set((await Promise.all(calls)).map(({ id }) => id)).size).toBe(1);
    expect(await turns.models.Message.countDocuments({ conversation })).toBe(2);
  });

  it('numbers a hundred concurrent turns of a conversation without a gap', async () => {
    const conversation = await newConversation(turns);
    const enqueued = await Promise.all(
      Array.from({ length: 100 }, (_, n) => turns.enqueue({ conversation, text: `${n}` })),
    );
    const sequences = enqueued.map(({ sequence }) => sequence).sort((a, b) => a - b);
    expect(sequences).toEqual(Array.from({ length: 100 }, (_, n) => 2 * n + 2));
  });

  it('can refuse a busy conversation', async () => {
    const conversation = await newConversation(turns);
    const first = await turns.enqueue({ conversation, text: 'x' });
    const refused = turns.enqueue({ conversation, text: 'y', onBusy: 'reject' });
    await expect(refused).rejects.toMatchObject({ code: 'turn_busy', busyTurnId: first.id });
    expect(await turns.models.Message.countDocuments({ conversation })).toBe(2);
  });

  it('after close says so', async () => {
    const other = await system.connect();
    await other.close();
    await expect(other.enqueue({ conversation: 'x', text: 'x' })).rejects.toMatchObject({
      code: 'illegal_state',
      state: 'closed',
    });
  });
});
