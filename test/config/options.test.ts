import { afterAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { connect, InvalidConfigError } from '../../src/index.ts';
import { scriptedUpstream, testTurns } from '../../src/testing/index.ts';
import { compilePolicy } from '../../src/turn/policy.ts';
import { eventStream } from '../../src/web/event-stream.ts';
import '../support/fuzz-seed.ts';

const secret = 'p4ssw0rd-of-somebody';
const address = {
  redis: `redis://:${secret}@127.0.0.1:9`,
  mongo: `mongodb://u:${secret}@127.0.0.1:9/x`,
  opencode: { url: 'http://127.0.0.1:9', password: secret },
};
const { turns, close } = await testTurns({ upstream: scriptedUpstream('Hi.') });
afterAll(close);

const connecting = (given: object) => connect({ ...address, ...given });
const working = (given: object) => turns.work({ policies: { default: {} }, ...given });
const streaming = (given: object) =>
  eventStream({ get: async () => ({}) as never, follow: async function* () {} }, 'x', given);
const limited = async (limits: object) => compilePolicy('p', { limits });
const day = 86_400_000;
const week = 7 * day;

/** Each number that a host may give: how it is given, its name in an error, and its bounds. */
const numbers: readonly [
  string,
  (value: unknown) => Promise<unknown>,
  number,
  number,
  ('or no limit' | 'any')?,
][] = [
  ['connectTimeoutMs', (connectTimeoutMs) => connecting({ connectTimeoutMs }), 100, 60_000],
  ['lockLeaseMs', (lockLeaseMs) => connecting({ lockLeaseMs }), 100, 600_000],
  ['concurrency', (concurrency) => working({ concurrency }), 1, 10_000],
  ['lockMs', (lockMs) => working({ lockMs, stalledCheckMs: 100 }), 1_000, 600_000],
  ['stalledCheckMs', (stalledCheckMs) => working({ stalledCheckMs, lockMs: 600_000 }), 100, 600_000],
  ['unknownPolicyMs', (unknownPolicyMs) => working({ unknownPolicyMs }), 0, week],
  ['sweeper.everyMs', (everyMs) => working({ sweeper: { everyMs } }), 100, 3_600_000],
  ['sweeper.minAgeMs', (minAgeMs) => working({ sweeper: { minAgeMs } }), 0, day],
  ['heartbeatMs', (heartbeatMs) => streaming({ heartbeatMs }), 100, 600_000],
  ['policies.p.limits.turnTimeoutMs', (turnTimeoutMs) => limited({ turnTimeoutMs }), 10, week],
  ['policies.p.limits.firstEventTimeoutMs', (value) => limited({ firstEventTimeoutMs: value }), 10, week],
  ['policies.p.limits.idleTimeoutMs', (idleTimeoutMs) => limited({ idleTimeoutMs }), 10, week],
  ['policies.p.limits.inputTimeoutMs', (inputTimeoutMs) => limited({ inputTimeoutMs }), 10, week],
  ['policies.p.limits.upstreamAwayMs', (upstreamAwayMs) => limited({ upstreamAwayMs }), 10, week],
  ['policies.p.limits.lostAfterMs', (lostAfterMs) => limited({ lostAfterMs }), 2_000, week],
  ['policies.p.limits.wrongAnswerTimeoutMs', (value) => limited({ wrongAnswerTimeoutMs: value }), 10, week],
  [
    'policies.p.limits.maxUpstreamRetryDelayMs',
    (value) => limited({ maxUpstreamRetryDelayMs: value }),
    0,
    week,
  ],
  ['policies.p.limits.cancelTimeoutMs', (cancelTimeoutMs) => limited({ cancelTimeoutMs }), 10, week],
  ['policies.p.limits.hookTimeoutMs', (hookTimeoutMs) => limited({ hookTimeoutMs }), 10, week],
  ['policies.p.limits.maxUpstreamRetries', (value) => limited({ maxUpstreamRetries: value }), 0, 1_000],
  ['policies.p.limits.maxReruns', (maxReruns) => limited({ maxReruns }), 0, 100],
  ['policies.p.limits.maxTokens', (maxTokens) => limited({ maxTokens }), 0, 1e12, 'or no limit'],
  ['policies.p.limits.maxSteps', (maxSteps) => limited({ maxSteps }), 0, 1e6, 'or no limit'],
  ['policies.p.limits.maxCost', (maxCost) => limited({ maxCost }), 0, 1e9, 'any'],
];

/** Outside of the bounds, no whole number, or no number at all. */
const wrong = (min: number, max: number, kind: string | undefined) =>
  fc
    .oneof(
      fc.constantFrom(Number.NaN, Number.NEGATIVE_INFINITY, -1, min - 1, max + 1, 2 ** 31, 1e300),
      fc.integer({ max: min - 1 }),
      fc.integer({ min: max + 1, max: Math.max(2 ** 45, max * 2) }),
      fc.constantFrom(null, '', ' 5 ', `${min}`, '5s', true, [], {}, 5n, Symbol('x'), () => 5, new Date(0)),
      ...(kind === undefined ? [fc.constant(Number.POSITIVE_INFINITY)] : []),
      ...(kind === 'any' ? [] : [fc.integer({ min, max: max - 1 }).map((whole) => whole + 0.5)]),
    )
    .filter(
      (value) => !(typeof value === 'number' && value >= min && value <= max && Number.isInteger(value)),
    );

const text = (value: number) => value.toLocaleString('en-US');

describe('what is outside of its bounds is refused by its name, with the bounds', () => {
  it.each(numbers)('%s', async (...[name, give, min, max, kind]) => {
    await fc.assert(
      fc.asyncProperty(wrong(min, max, kind), async (value) => {
        const refused = await give(value).then(
          () => 'taken',
          (error: unknown) => error,
        );
        expect(refused).toBeInstanceOf(InvalidConfigError);
        const { setting, message } = refused as InvalidConfigError;
        expect(setting).toBe(name);
        expect(message).toContain(`from ${text(min)} to ${text(max)}`);
        expect(message).not.toContain(secret);
      }),
      { numRuns: 60 },
    );
  });

  it.each(numbers.filter(([name]) => /^policies|heartbeatMs/.test(name)))(
    'the bounds of %s themselves are taken',
    async (...[, give, min, max, kind]) => {
      for (const value of [min, max, undefined, ...(kind === undefined ? [] : [Number.POSITIVE_INFINITY])])
        await expect(give(value)).resolves.toBeDefined();
    },
  );
});

it.each(['', 'a b', 'ä', 'a/b', '{a}', 'a*', 'x'.repeat(65), 7, null])('no prefix is %p', async (prefix) => {
  const refused = await connecting({ prefix }).catch((error: unknown) => error);
  expect(refused).toMatchObject({ code: 'invalid_config', setting: 'prefix' });
  expect(String(refused)).toMatch(/1 to 64 .*letters, digits/);
});

it('a check for stalled jobs that is rarer than the lock runs out is refused', async () => {
  await expect(working({ lockMs: 2_000, stalledCheckMs: 2_001 })).rejects.toMatchObject({
    setting: 'stalledCheckMs',
    message: expect.stringMatching(/at most lockMs \(2,000\)/),
  });
  // A default may stand beside a shorter lock.
  await (await working({ lockMs: 2_000 })).stop(0);
});

it.each([Number.NaN, -1, Number.POSITIVE_INFINITY, 2 ** 31, '5', null])(
  'a worker is not stopped within %p ms, and can still be stopped',
  async (deadlineMs) => {
    const worker = await working({});
    await expect(worker.stop(deadlineMs as never)).rejects.toMatchObject({
      code: 'invalid_config',
      setting: 'deadlineMs',
      message: expect.stringMatching(/from 0 to 86,400,000/),
    });
    expect(worker.state).toBe('running');
    await worker.stop(0);
  },
);

it.each<[string, object]>([
  ['opencode.password', { opencode: { url: 'http://h', password: 424_242 } }],
  ['opencode.0.password', { opencode: [{ url: 'http://h', password: 424_242 }] }],
  ['redis', { redis: 424_242 }],
  ['mongo', { mongo: 424_242 }],
])('what may hold a password is never shown (%s)', async (setting, given) => {
  const refused = await connecting(given).catch((error: unknown) => error);
  expect(refused).toMatchObject({ code: 'invalid_config', setting });
  expect(String(refused)).not.toMatch(/424/);
});

it.each<[string, unknown]>([
  ['redis', []],
  ['redis', `redis://:${secret}@h?x=1`],
  ['redis', `redis://:${secret}?${secret}@h`],
  ['redis.maxRetriesPerRequest', `redis://:${secret}@127.0.0.1:9?maxRetriesPerRequest=3`],
  ['redis', { ...address, duplicate: () => undefined }],
  ['redis.maxRetriesPerRequest', { host: 'h', maxRetriesPerRequest: null }],
  ['redis.lazyConnect', { host: 'h', lazyConnect: false }],
  ['redis.keyPrefix', { host: 'h', keyPrefix: 'x' }],
  ['redis.sentinels', { sentinels: [{ host: 'h' }], name: 'm' }],
  ['redis.hots', { hots: 'h' }],
  ['redis.port', { port: '6379' }],
  ['redis.password', { password: 424_242 }],
  ['redis.tls', { tls: secret }],
])('what a Redis is not reached by is refused by name: %s', async (setting, redis) => {
  const refused = await connecting({ redis }).catch((error: unknown) => error);
  expect(refused).toMatchObject({ code: 'invalid_config', setting });
  expect(String(refused)).not.toMatch(/p4ssw0rd|424/);
});
