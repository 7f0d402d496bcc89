import fc from 'fast-check';
import type { TurnEntryBody } from '../../src/turn/entry.ts';

/** Everything that is no type of ours, under names that mean something somewhere. */
export const anythingNamed = (...keys: string[]) =>
  fc.anything({
    key: fc.oneof(
      fc.string({ maxLength: 8 }),
      fc.constantFrom('__proto__', 'constructor', 'toString', '$ne', ...keys),
    ),
    values: [fc.string(), fc.double(), fc.boolean(), fc.constant(null), fc.constantFrom('x', ...keys)],
    withNullPrototype: true,
    withDate: true,
    withBigInt: true,
    maxDepth: 4,
  });

/** A thing of the right shape, of which some fields are anything. */
export const spoiled = <T extends object>(whole: T, ...keys: string[]) =>
  fc
    .tuple(fc.subarray(Object.keys(whole), { minLength: 1 }), fc.array(anythingNamed(...keys)))
    .map(([fields, values]) => ({
      ...whole,
      ...Object.fromEntries(fields.map((field, at) => [field, values[at]])),
    }));

const part = { type: 'text', id: 'prt_1', messageId: 'msg_1', source: 'wire', text: 'abc' };
const tool = {
  ...part,
  type: 'tool',
  id: 'prt_2',
  tool: 'bash',
  callId: 'c',
  status: 'running',
  input: {},
  metadata: {},
};
const request = { requestId: 'per_1', kind: 'permission', sessionId: 'ses_1', details: {}, state: 'open' };
const artifact = { fileId: 'f', filename: 'a', contentType: 't', bytes: 1, sha256: '', metadata: {} };
const view = {
  status: 'pending',
  progress: 'prompted',
  parts: [part, tool],
  requests: [request],
  artifacts: [artifact],
};

/** One of each type, as a worker tells it. */
export const entries = {
  progress: { type: 'progress', progress: 'started' },
  part: { type: 'part', part },
  text: { type: 'text', partId: 'prt_1', offset: 3, delta: 'd' },
  parts: { type: 'parts', parts: [tool, part] },
  request: { type: 'request', request },
  retry: { type: 'retry', attempt: 1, message: 'm', nextAt: 1 },
  usage: { type: 'usage', usage: { cost: 1 } },
  artifact: { type: 'artifact', artifact },
  snapshot: { type: 'snapshot', view },
  finished: { type: 'finished', status: 'completed', text: 't' },
} as unknown as { readonly [T in TurnEntryBody['type']]: object };

const keys = [
  'type',
  'part',
  'parts',
  'view',
  'request',
  'id',
  'text',
  'offset',
  'requestId',
  'filename',
  'status',
];
const inner = fc.oneof(spoiled(part, ...keys), spoiled(tool, ...keys), spoiled(request, ...keys));

/** An entry, one of which something is wrong, or anything. */
export const someEntry: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom(...Object.values(entries)),
  fc.constantFrom(...Object.values(entries)).chain((entry) => spoiled(entry, ...keys)),
  fc.record({
    type: fc.constantFrom('part', 'request', 'artifact'),
    part: inner,
    request: inner,
    artifact: inner,
  }),
  fc.record({
    type: fc.constant('parts'),
    parts: fc.array(fc.oneof(inner, fc.constant(part)), { maxLength: 4 }),
  }),
  fc.record({ type: fc.constant('snapshot'), view: spoiled(view, ...keys) }),
  fc.record({
    type: fc.constant('text'),
    partId: fc.constant('prt_1'),
    offset: fc.integer(),
    delta: fc.string(),
  }),
  fc.constantFrom('__proto__', 'constructor', 'hasOwnProperty').map((type) => ({ type })),
  anythingNamed(...keys),
);
