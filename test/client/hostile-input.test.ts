import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import mongoose from 'mongoose';
import { checkAnswer, checkRequestId, checkTurnId } from '../../src/client/check-input.ts';
import { checkEnqueueInput } from '../../src/client/enqueue-input.ts';
import { InvalidConfigError, InvalidInputError } from '../../src/errors.ts';
import { objectId } from '../../src/mongodb/object-id.ts';
import { serverAddress } from '../../src/opencode/address.ts';
import { conversationIdOf } from '../../src/turn/conversation-id.ts';
import '../support/fuzz-seed.ts';

const hex = '0123456789abcdef01234567';
/** As ObjectId is in this and in older versions of BSON. */
const foreignId = (kind: string, text = hex) =>
  Object.create({
    toHexString: () => text,
    toString: () => text,
    get _bsontype() {
      return kind;
    },
  });

describe("a conversation's id", () => {
  it.each<[string, unknown]>([
    ['a string', hex],
    ['capitals', hex.toUpperCase()],
    ['an ObjectId', new mongoose.Types.ObjectId(hex)],
    ['one of another BSON', foreignId('ObjectId')],
    ['one of an old BSON', foreignId('ObjectID')],
    ['a document', { _id: new mongoose.Types.ObjectId(hex), title: 'x' }],
    ['a lean document with a text', { _id: hex }],
  ])('may be %s', (_name, value) => expect(conversationIdOf(value)).toBe(hex));

  it.each<[string, unknown]>([
    ['what JSON can say', { _bsontype: 'ObjectId' }],
    ['the same with its text', { _bsontype: 'ObjectId', id: hex, toString: hex, toHexString: hex }],
    ['the same in a document', { _id: { _bsontype: 'ObjectId', toString: null } }],
    ['one whose text is none', foreignId('ObjectId', '{"$ne":null}')],
    ['another type of BSON', foreignId('Binary')],
    ['one whose text is no text', foreignId('ObjectId', 7 as never)],
    [
      'one that throws',
      Object.create({
        _bsontype: 'ObjectId',
        toHexString: () => {
          throw new Error('no');
        },
      }),
    ],
    [
      'a getter that throws',
      Object.defineProperty({}, '_id', {
        get: () => {
          throw new Error('no');
        },
      }),
    ],
    ['an operator', { $ne: null }],
    ['twelve bytes', Buffer.alloc(12)],
  ])('is never %s', (_name, value) => expect(() => conversationIdOf(value)).toThrow(InvalidInputError));
});

/** Everything that has no type of ours, with keys that mean something somewhere. */
const anything = fc.anything({
  key: fc.oneof(
    fc.string(),
    fc.constantFrom('_id', '_bsontype', '__proto__', 'toString', 'kind', 'text', '$ne'),
  ),
  values: [
    fc.string(),
    fc.integer(),
    fc.constantFrom('ObjectId', 'question', hex),
    fc.boolean(),
    fc.constant(null),
  ],
  withNullPrototype: true,
  maxDepth: 4,
});

it.each<[string, (value: never) => unknown, new (...args: never[]) => Error]>([
  ['an id', conversationIdOf, InvalidInputError],
  ['a turn id', checkTurnId, InvalidInputError],
  ['a request id', checkRequestId, InvalidInputError],
  ['an answer', checkAnswer, InvalidInputError],
  ['what is enqueued', checkEnqueueInput, InvalidInputError],
  ['a stored id', (value: never) => objectId(value, 'turnId'), InvalidInputError],
  ["a server's address", serverAddress, InvalidConfigError],
])('%s: taken, or refused by a typed error', (_name, check, error) => {
  fc.assert(
    fc.property(anything, (value) => {
      try {
        check(value as never);
      } catch (thrown) {
        expect(thrown).toBeInstanceOf(error);
      }
    }),
    { numRuns: 500 },
  );
});

it.each(['http://u:%zz@127.0.0.1:1', 'http://%zz@127.0.0.1:1', 'http://u:%E0%A4%A@127.0.0.1:1'])(
  'a password that is not percent-encoded names its setting and not itself: %s',
  (url) => {
    expect(() => serverAddress(url)).toThrow(InvalidConfigError);
    expect(() => serverAddress(url)).toThrow(/^opencode\.url: [^%]*$/);
  },
);
