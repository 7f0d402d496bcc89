/**
 * What others say costs no more than its length: each reader of foreign text is given texts that make careless patterns
 * and loops go over them again and again. Processor time is compared with that of a plain loop in this process.
 */
import { beforeAll, expect, it } from '@jest/globals';
import { apparentName } from '../../src/artifacts/attachment-names.ts';
import { downloadHeaders } from '../../src/artifacts/download-headers.ts';
import { sandboxFilename } from '../../src/artifacts/filenames.ts';
import { boundedPart } from '../../src/bounds/bounded-part.ts';
import { checkAnswer, checkRequestId, checkTurnId } from '../../src/client/check-input.ts';
import { checkEnqueueInput } from '../../src/client/enqueue-input.ts';
import { messageOf } from '../../src/errors.ts';
import { allowedAttributes } from '../../src/instrumentation/attributes.ts';
import { printable } from '../../src/instrumentation/printable.ts';
import { mongoError } from '../../src/mongodb/errors.ts';
import { readParts } from '../../src/mongodb/stored-json.ts';
import { serverAddress } from '../../src/opencode/address.ts';
import { meaningOf, problemOf } from '../../src/opencode/answer.ts';
import { sseReader } from '../../src/opencode/sse.ts';
import { decodeEvent } from '../../src/opencode/v1/decode.ts';
import { redisError } from '../../src/redis/errors.ts';
import { isPlainCommand } from '../../src/reply/asked-first.ts';
import { parsePart } from '../../src/reply/response-parser.ts';
import { ToolDisplay } from '../../src/reply/tool-display.ts';
import { failureOfError, upstreamFailure } from '../../src/turn/failure.ts';
import { positionOf } from '../../src/turn/stream-position.ts';
import { matches } from '../../src/turn/wildcard.ts';

const length = 100_000;
const units = [
  '\n',
  ' ',
  '\t',
  '.',
  '/',
  '\\',
  '"',
  '%',
  '-',
  '_',
  'a',
  'aA',
  '0',
  '{',
  '[',
  '*',
  '\u0301',
  '\ud800',
  '\r\n',
  'a b',
  '…',
];
const texts = units.map((unit) => `x${unit.repeat(length / unit.length)}y`);

const wire = (text: string, tool: string) => ({
  ...{ id: 'prt_1', sessionID: 'ses_1', messageID: 'msg_1', type: 'tool', callID: text, tool },
  state: {
    ...{ status: 'error', error: text, title: text, output: text },
    input: {
      command: text,
      filePath: text,
      patchText: text,
      oldString: text,
      newString: text,
      questions: [{ question: text }],
    },
    metadata: { diff: text, output: text, files: [{ relativePath: text, patch: text }] },
  },
});
const shown = Object.entries(Object.getOwnPropertyDescriptors(ToolDisplay.prototype)).flatMap(
  ([name, { get }]) => (get ? [name] : []),
);
const answer = (text: string) => ({
  status: 500,
  contentType: text,
  body: Buffer.from(text),
  retryAfter: text,
  location: text,
});

const readers: Readonly<Record<string, (text: string) => unknown>> = {
  'a failure': (text) => upstreamFailure({ message: text, name: text }),
  'an error': (text) => failureOfError(new Error(text)),
  'an error of Redis': (text) => redisError(new Error(text)),
  'an error of MongoDB': (text) =>
    mongoError(Object.assign(new Error(`E11000 dup key: { ${text}`), { code: 11000 })),
  'a message': (text) => messageOf(text),
  'a log line': (text) => printable(text),
  'an attribute': (text) =>
    allowedAttributes({ 'url.full': text, 'db.query.text': text, 'error.type': text }),
  'a cursor': (text) => positionOf(text),
  'a turn id': checkTurnId,
  'a request id': checkRequestId,
  'an answer': (text) => checkAnswer({ kind: 'question', answers: [[text]] }),
  'what is enqueued': (text) =>
    checkEnqueueInput({ conversation: text, text, idempotencyKey: text } as never),
  'a file name': (text) => sandboxFilename(text),
  'a name that others may look like': (text) => apparentName(text),
  'a download': (text) => downloadHeaders({ filename: text, contentType: text, bytes: 1 } as never),
  'an address': (text) => serverAddress(`http://${text}`),
  'a path in an address': (text) => serverAddress(`http://127.0.0.1/${text}`),
  'an answer of the server': (text) =>
    problemOf(meaningOf(answer(text), 'json').meaning as never, answer(text), { method: 'GET', path: '/' }),
  'an event': (text) =>
    decodeEvent({
      type: text,
      properties: { sessionID: text, info: { id: text, error: { name: text, data: { message: text } } } },
    }),
  'the stream of events': (text) => {
    const reader = sseReader(() => undefined);
    for (const byte of Buffer.from(text).subarray(0, length)) reader.push(Uint8Array.of(byte));
  },
  'stored parts': (text) => readParts(text),
  'a tool call': (text) => {
    for (const tool of ['bash', 'edit', 'apply_patch', 'read', 'question', text]) {
      const part = parsePart(wire(text, tool) as never);
      if (part) boundedPart(part);
      const display = new ToolDisplay(part) as unknown as Record<string, unknown>;
      for (const name of shown) void display[name];
    }
  },
  'a command': (text) => isPlainCommand(text.slice(0, 10_000)),
  'a pattern of permissions': (text) => matches('*a*a*a*a*a*?b', text),
  'a rule of permissions': (text) => matches(text, 'a'.repeat(100)),
};

const cpuMs = (work: () => unknown): number => {
  const { user } = process.cpuUsage();
  try {
    work();
  } catch {
    // Refused: that is an answer, too.
  }
  return (process.cpuUsage().user - user) / 1_000;
};
/** Fifty times over one text: what costs a hundred times as much goes over it again from each of its places. */
function plainLoop(): number {
  const [text = ''] = texts;
  let sum = 0;
  for (let times = 0; times < 50; times += 1)
    for (let at = 0; at < text.length; at += 1) sum += text.charCodeAt(at);
  return sum;
}
let baseline: number;
beforeAll(() => {
  plainLoop();
  baseline = Math.max(cpuMs(plainLoop), 5);
});

it.each(Object.keys(readers))('%s costs what its length is worth', (name) => {
  for (const text of texts) {
    const cost = cpuMs(() => readers[name]?.(text));
    expect({ text: text.slice(0, 4), cheap: cost < 100 * baseline }).toEqual({
      text: text.slice(0, 4),
      cheap: true,
    });
  }
});
