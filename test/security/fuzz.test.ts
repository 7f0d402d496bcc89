import { inspect } from 'node:util';
import { expect, it } from '@jest/globals';
import fc from 'fast-check';
import { parseJobData } from '../../src/bullmq/turn-job.ts';
import { configFromEnv } from '../../src/config/env.ts';
import { InvalidConfigError, InvalidInputError, messageOf, TurnsError } from '../../src/errors.ts';
import { connectMongo } from '../../src/mongodb/connection.ts';
import type { MessageDoc } from '../../src/mongodb/models.ts';
import { pendingOf, turnOf, waitingOf } from '../../src/mongodb/turn-mapping.ts';
import { decodeEvent, sessionOf } from '../../src/opencode/v1/decode.ts';
import { openRedis } from '../../src/redis/connection.ts';
import { parsePart } from '../../src/reply/response-parser.ts';
import { ToolDisplay } from '../../src/reply/tool-display.ts';
import { markIn } from '../../src/session/mark.ts';
import { corruption } from '../../src/turn/corrupt-turn.ts';
import { applyEntry, emptyView } from '../../src/turn/entry.ts';
import { failureOfError, upstreamFailure } from '../../src/turn/failure.ts';
import { compilePolicy } from '../../src/turn/policy.ts';
import { viewOf } from '../../src/turn/stored-view.ts';
import { positionOf } from '../../src/turn/stream-position.ts';
import { PolicyTable } from '../../src/worker/policy-table.ts';
import { anythingNamed, spoiled } from '../support/arbitrary.ts';
import '../support/fuzz-seed.ts';

const secret = 'p4ssw0rd-of-somebody';
const reporter = { report: () => undefined };
type ErrorClass = abstract new (...args: never[]) => Error;
/** Taken, or refused by an error of one class, bounded and without what was hidden in the input. */
function takenOrRefused(kind: ErrorClass, call: () => unknown): void {
  try {
    call();
  } catch (error) {
    expectTyped(error, kind);
  }
}
function expectTyped(error: unknown, kind: ErrorClass): void {
  if (!(error instanceof kind)) throw error;
  expect(messageOf(error).length).toBeLessThan(5_000);
  expect(inspect(error, { depth: 12, showHidden: true })).not.toContain(secret);
}
const runs = { numRuns: 500 };

it('policies', () => {
  const policy = {
    agent: 'a',
    model: 'p/m',
    variant: 'v',
    system: 's',
    permissions: [{ permission: 'bash', pattern: '*', action: 'deny' }],
    knownPermissions: ['x_*'],
    directoryRoot: '/tmp',
    limits: { turnTimeoutMs: 1_000 },
    onUpstreamLost: 'fail',
    transforms: [],
    defaultAttach: 'all',
    fallbackText: 'f',
  };
  const keys = [...Object.keys(policy), 'turnTimeoutMs', 'maxCost', 'deny', 'bash'];
  const given = fc.oneof(anythingNamed(...keys), spoiled(policy, ...keys));
  fc.assert(
    fc.property(given, fc.string(), (value, name) => {
      takenOrRefused(InvalidConfigError, () => compilePolicy(name, value as never));
      takenOrRefused(InvalidConfigError, () => new PolicyTable({ [name]: value } as never));
      takenOrRefused(InvalidConfigError, () => new PolicyTable(value as never));
    }),
    runs,
  );
});

it('job data', () => {
  const given = fc.oneof(anythingNamed('turnId'), spoiled({ turnId: '0'.repeat(24), policy: 'x' }));
  fc.assert(
    fc.property(given, (value) => takenOrRefused(InvalidInputError, () => parseJobData(value, 'turn-x'))),
    runs,
  );
});

it('the environment', () => {
  const env = {
    REDIS_URL: `redis://:${secret}@h`,
    MONGODB_URL: `mongodb://u:${secret}@h/d`,
    OPENCODE_URL: 'http://h',
    OPENCODE_SERVER_PASSWORD: secret,
    OPENCODE_TURNS_LOCK_LEASE_MS: '5000',
    OPENCODE_TURNS_COLLECTION_PREFIX: '',
  };
  const given = fc
    .tuple(fc.constantFrom(...Object.keys(env)), fc.option(fc.string(), { nil: undefined }))
    .map(([name, value]) => ({ ...env, [name]: value }));
  fc.assert(
    fc.property(given, (value) => takenOrRefused(InvalidConfigError, () => configFromEnv(value))),
    runs,
  );
});

/** Addresses with a password; all of them on this machine, where nobody listens. */
const addresses = (scheme: string) =>
  fc
    .tuple(
      fc.constantFrom(scheme, `${scheme}s`, `${scheme}+srv`, 'http', '', `${scheme} `),
      fc.constantFrom('://', ':/', ':', '//'),
      fc.constantFrom(`u:${secret}@`, `:${secret}@`, `%zz:${secret}@`, `u:${secret}:@@`, `u:%${secret}@`),
      fc.constantFrom('127.0.0.1:1', '127.0.0.1:port', '[::1]:1', '[', '127.0.0.1:99999', '%zz', ''),
      fc.oneof(fc.constantFrom('', '/', '/x', '/x?', '/%zz', '/x?tls=maybe&tls=1'), fc.string()),
    )
    .map((pieces) => pieces.join(''));

it.each<[string, string, (url: string) => Promise<unknown>]>([
  ['Redis', 'redis', (url) => openRedis(url, 'commands', reporter, 20)],
  ['MongoDB', 'mongodb', (url) => connectMongo(url, { timeoutMs: 20 })],
])('addresses of %s', async (_name, scheme, open) => {
  const given = fc.oneof(addresses(scheme), anythingNamed());
  const asked = fc.asyncProperty(given, async (url) => {
    const error = await open(url as string).then(
      () => 'it was opened',
      (thrown: unknown) => thrown,
    );
    expectTyped(error, TurnsError);
  });
  await fc.assert(asked, { numRuns: 150 });
});

it('cursors', () => {
  const given = fc.oneof(
    fc.string(),
    fc.stringMatching(/^\d{1,20}(-\w{0,9})?$/),
    fc.constantFrom('1-0', '1e3'),
  );
  fc.assert(
    fc.property(given, (after) => {
      const position = positionOf(after);
      if (position) expect(Number.isSafeInteger(position.number)).toBe(true);
    }),
    runs,
  );
});

const someParts = ['bash', 'apply_patch', 'todowrite', 'question', 'x'].map((tool, at) => ({
  ...{ type: 'tool', id: `prt_${at}`, messageId: 'msg_1', callId: 'c', status: 'completed', tool },
  ...{ input: { command: 'ls', questions: [null], todos: [5] }, metadata: { files: [null, 5] } },
}));
const displayed = Object.entries(Object.getOwnPropertyDescriptors(ToolDisplay.prototype)).flatMap(
  ([name, { get }]) => (get ? [name] : []),
);
const sizeOf = (value: unknown) =>
  (JSON.stringify(value, (_key, one) => (typeof one === 'bigint' ? String(one) : one)) ?? '').length;
/** Parts are JSON text: some of them are, and are not what they were. */
const storedParts = fc.oneof(
  fc.json(),
  fc.string(),
  fc
    .array(
      fc.oneof(...someParts.map((part) => spoiled(part, 'input', 'metadata', 'text')), anythingNamed('type')),
      {
        maxLength: 4,
      },
    )
    .map((parts) => JSON.stringify(parts, (_key, one) => (typeof one === 'bigint' ? 0 : one))),
);

function document(more: object): MessageDoc {
  const id = '0123456789abcdef01234567';
  return {
    _id: id,
    conversation: id,
    counterpart: id,
    role: 'assistant',
    sequence: 1,
    status: 'pending',
    policy: 'default',
    text: 'c',
    reasoning: 'r',
    parts: JSON.stringify(someParts),
    requests: [{ requestId: 'que_1', kind: 'question', sessionId: 'ses_1', details: '{}', state: 'open' }],
    artifacts: [{ fileId: id, filename: 'f', contentType: 't', bytes: 1, sha256: '', metadata: '{}' }],
    run: { phase: 'queued', epoch: 1, reruns: 0, resends: 0, claimedAt: new Date(1) },
    createdAt: new Date(1),
    ...more,
  } as unknown as MessageDoc;
}

it('stored documents: a turn, and a reason when it makes no sense', () => {
  const keys = ['phase', 'epoch', 'state', 'answer', 'details', 'metadata', 'claimedAt'];
  // Its own id is what it was found by.
  const messages = spoiled(document({}), ...keys).map(
    (message) => ({ ...message, _id: document({})._id }) as MessageDoc,
  );
  const withParts = fc.oneof(
    messages,
    fc.tuple(messages, storedParts).map(([message, parts]) => ({ ...message, parts })),
  );
  const questions = fc.oneof(fc.constant(null), messages);
  fc.assert(
    fc.property(withParts, questions, (message, question) => {
      waitingOf(message);
      pendingOf(message);
      const turn = turnOf(message, question);
      const reason = corruption(turn);
      if (reason !== undefined) expect(reason.length).toBeLessThan(5_000);
      // What a follower gets of it, he can hold; and it is no larger than what is stored.
      const view = viewOf(turn);
      expect(applyEntry(emptyView, { type: 'snapshot', view })).toBe(view);
      expect(sizeOf(view)).toBeLessThan(2 * sizeOf(message) + 1_000);
      for (const part of turn.parts) {
        const display = new ToolDisplay(part) as unknown as Record<string, unknown>;
        for (const name of displayed) void display[name];
      }
    }),
    { numRuns: 2_000 },
  );
});

it('what upstream says: events, parts, marks and errors', () => {
  const keys = [
    'type',
    'properties',
    'info',
    'part',
    'sessionID',
    'id',
    'state',
    'status',
    'input',
    'metadata',
  ];
  const part = {
    id: 'prt_1',
    sessionID: 'ses_1',
    messageID: 'msg_1',
    type: 'tool',
    callID: 'call_1',
    tool: 'bash',
    state: { status: 'completed', input: {}, output: '', metadata: {} },
    text: '',
    time: { start: 1 },
  };
  const parts = fc.record({
    ...Object.fromEntries(Object.entries(part).map(([key, value]) => [key, fc.constant(value)])),
    type: fc.constantFrom('tool', 'text', 'reasoning', 'file', 'subtask', 'patch', '__proto__'),
    state: fc.oneof(anythingNamed(...keys), fc.constant(part.state)),
    text: fc.oneof(fc.string(), anythingNamed()),
    tool: fc.oneof(fc.string(), anythingNamed(), fc.constantFrom('bash', '__proto__', 'constructor')),
  });
  fc.assert(
    fc.property(anythingNamed(...keys), parts, (value, wire) => {
      const event = decodeEvent(value);
      if (event.type !== 'unknown') sessionOf(event as never);
      parsePart(wire as never);
      markIn(value as never);
      failureOfError(value);
    }),
    runs,
  );
  fc.assert(
    fc.property(fc.string(), fc.string(), fc.integer(), (message, name, statusCode) => {
      expect(upstreamFailure({ message, name, statusCode }).reason).toMatch(/^[a-z_]+$/);
    }),
    runs,
  );
});
