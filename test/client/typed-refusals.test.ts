/** What a caller gives that is of no use is refused by a typed error that names it, before anything is stored. */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { storeFiles } from '../../src/client/store-files.ts';
import type { Turns } from '../../src/index.ts';
import { scriptedUpstream, type TestTurns, testTurns } from '../../src/testing/index.ts';
import { MemoryFileStore } from '../../src/testing/memory-file-store.ts';
import { systemClock } from '../../src/timing/clock.ts';
import { eventStream } from '../../src/web/event-stream.ts';

let test: TestTurns;
let turns: Turns;
let conversation: string;
beforeEach(async () => {
  test = await testTurns({ upstream: scriptedUpstream('fine') });
  turns = test.turns as unknown as Turns;
  conversation = test.conversation();
});
afterEach(() => test.close());

const file = (content: unknown, more: object = {}) =>
  ({ filename: 'a.txt', contentType: 'text/plain', content, ...more }) as never;
const refused = (field: string) => expect.objectContaining({ code: 'invalid_input', field });
const thrown = async (call: () => unknown) => {
  try {
    return await call();
  } catch (error) {
    return error;
  }
};
async function bytesOf(fileId: string): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of turns.files.read(fileId)) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}
const stored = async () => turns.files.stored({ from: 0, to: Number.MAX_SAFE_INTEGER, limit: 10 });

describe('a signal that is none', () => {
  const signals: readonly unknown[] = [5, 'x', {}, { aborted: false }, new AbortController(), null];
  it.each(signals)('%p', async (signal) => {
    const { id } = await turns.enqueue({ conversation, text: 'hello' });
    const given = { signal } as never;
    const calls: Record<string, () => unknown> = {
      follow: () => turns.follow(id, given).next(),
      result: () => turns.result(id, given),
      'files.attach': () => turns.files.attach(id, file(Buffer.from('x')), signal as never),
      'files.read': async () => {
        for await (const _ of turns.files.read(id, signal as never)) break;
      },
      eventStream: () => eventStream(turns, id, given),
    };
    for (const [name, call] of Object.entries(calls))
      expect([name, await thrown(call)]).toEqual([name, refused('signal')]);
  });

  it('and options that are none', async () => {
    const { id } = await turns.enqueue({ conversation, text: 'hello' });
    for (const options of [5, 'x', null] as never[]) {
      expect(await thrown(() => turns.follow(id, options).next())).toEqual(refused('options'));
      expect(await thrown(() => turns.result(id, options))).toEqual(refused('options'));
      expect(await thrown(() => eventStream(turns, id, options))).toEqual(refused('options'));
    }
  });
});

describe("a file's stream", () => {
  it('of texts is stored as UTF-8, a character that two of them share included', async () => {
    async function* texts() {
      yield 'grün ';
      yield 'und \ud83d';
      yield '';
      yield '\ude00';
    }
    const { file: kept } = await turns.files.attach(conversation, file(texts()));
    expect(await bytesOf(kept.fileId)).toBe('grün und 😀');
    expect(kept.bytes).toBe(Buffer.byteLength('grün und 😀'));
  });

  it.each<[string, readonly unknown[]]>([
    ['numbers', [1]],
    ['wider numbers', [new Uint16Array([1, 2])]],
    ['buffers without a view', [new ArrayBuffer(2)]],
    ['nothing', [undefined]],
    ['half a character at its end', ['\ud83d']],
    ['half a character in front of bytes', ['\ud83d', Buffer.from('x')]],
    ['half a character in the middle', ['a\udc00b']],
  ])('of %s is refused, and nothing is stored', async (_name, pieces) => {
    async function* content() {
      yield Buffer.from('begun');
      yield* pieces;
    }
    const enqueued = () => turns.enqueue({ conversation, text: 'hello', files: [file(content())] });
    expect(await thrown(enqueued)).toEqual(refused('files.0.content'));
    expect(await thrown(() => turns.files.attach(conversation, file(content())))).toEqual(refused('content'));
    expect(await stored()).toEqual([]);
  });

  it('that fails late is told with its cause, and nothing is stored, nor of the files before it', async () => {
    const cause = new Error('the disk is gone');
    async function* content() {
      yield Buffer.from('begun');
      throw cause;
    }
    const files = [file(Buffer.from('whole')), file(content(), { filename: 'b.txt' })];
    const error = await thrown(() => turns.enqueue({ conversation, text: 'hello', files }));
    expect(error).toEqual(refused('files.1.content'));
    expect(error).toMatchObject({ cause, message: expect.stringContaining('the disk is gone') });
    expect(await stored()).toEqual([]);
  });

  it.each(['stalls', 'drips'])('that %s without end is given up, and nothing is stored', async (how) => {
    let returned = false;
    const content: AsyncIterable<Uint8Array> = {
      [Symbol.asyncIterator]: () => ({
        next: async () => {
          if (how === 'stalls') return new Promise(() => undefined);
          await new Promise((resolve) => setImmediate(resolve));
          return { done: false, value: Buffer.from('.') };
        },
        return: async () => {
          returned = true;
          return { done: true, value: undefined };
        },
      }),
    };
    const store = new MemoryFileStore(systemClock);
    const bounds = how === 'stalls' ? { silentMs: 20, wholeMs: 600_000 } : { silentMs: 30_000, wholeMs: 20 };
    const error = await thrown(() =>
      storeFiles(store, '0'.repeat(24), [file(Buffer.from('whole')), file(content)], bounds),
    );
    expect(error).toEqual(refused('files.1.content'));
    expect(await store.stored({ from: 0, to: Number.MAX_SAFE_INTEGER, limit: 10 })).toEqual([]);
    expect(returned).toBe(true);
  });
});

it.each<[string, unknown]>([
  [
    'a circle',
    (() => {
      const circle: Record<string, unknown> = {};
      circle.self = circle;
      return circle;
    })(),
  ],
  ['a number without an end', { big: 1n }],
  ['a list', []],
  ['a text', 'x'],
  ['one that refuses', { toJSON: () => undefined }],
  [
    'one that throws',
    {
      toJSON: () => {
        throw new Error('no');
      },
    },
  ],
])('metadata that is no JSON object (%s) is refused before anything is read', async (_name, metadata) => {
  let read = false;
  async function* content() {
    read = true;
    yield Buffer.from('x');
  }
  expect(await thrown(() => turns.files.attach(conversation, file(content(), { metadata })))).toEqual(
    refused('metadata'),
  );
  expect(read).toBe(false);
});

describe('half a character', () => {
  it.each(['\ud800', '\udbff', 'a\udc00b'])('in what names something is refused: %j', async (half) => {
    const input = { conversation, text: 'hello' };
    const named: Record<string, () => unknown> = {
      idempotencyKey: () => turns.enqueue({ ...input, idempotencyKey: half }),
      policy: () => turns.enqueue({ ...input, policy: half }),
      'files.0.filename': () =>
        turns.enqueue({ ...input, files: [file(Buffer.from('x'), { filename: half })] }),
      'files.0.contentType': () =>
        turns.enqueue({ ...input, files: [file(Buffer.from('x'), { contentType: half })] }),
      conversation: () => turns.enqueue({ ...input, conversation: half }),
      filename: () => turns.files.attach(conversation, file(Buffer.from('x'), { filename: half })),
      messageId: () => turns.files.attach(half, file(Buffer.from('x'))),
    };
    for (const [field, call] of Object.entries(named)) expect(await thrown(call)).toEqual(refused(field));
  });

  it('in a text becomes U+FFFD, as it is stored, sent and returned', async () => {
    const { id } = await turns.enqueue({ conversation, text: 'a\ud800b 😀' });
    expect(await turns.get(id)).toMatchObject({ userText: 'a\ufffdb 😀' });
  });
});
