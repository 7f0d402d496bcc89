import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import mongoose from 'mongoose';
import { InvalidInputError } from '../../src/errors.ts';
import {
  type ConversationIdType,
  conversationIdOf,
  idText,
  ownDirectory,
  requireIdText,
  safeName,
  storedIdText,
} from '../../src/turn/conversation-id.ts';
import '../support/fuzz-seed.ts';
import { hostileIds } from '../support/hostile-ids.ts';

const { Binary, Long, Int32, Double, Decimal128, UUID, ObjectId } = mongoose.mongo.BSON;
const hex = '0123456789abcdef01234567';
const uuid = '0b1c2d3e-4f50-4a61-8b72-93a4b5c6d7e8';
const bytes = Buffer.from(uuid.replaceAll('-', ''), 'hex');
const roomy = new Binary(Buffer.alloc(40), 4);
bytes.copy(roomy.buffer);
roomy.position = 16;
const max = 2n ** 63n - 1n;

describe('the text of an id', () => {
  it.each<[ConversationIdType, unknown, string]>([
    ['ObjectId', hex, hex],
    ['ObjectId', hex.toUpperCase(), hex],
    ['ObjectId', new ObjectId(hex), hex],
    ['ObjectId', { _id: new ObjectId(hex) }, hex],
    ['String', 'Trip/1', 'Trip/1'],
    ['String', { _id: 'Trip/1' }, 'Trip/1'],
    ['String', hex, hex],
    ['String', hex.toUpperCase(), hex.toUpperCase()],
    ['String', new ObjectId(hex), hex],
    ['Number', 0, '0'],
    ['Number', -0, '0'],
    ['Number', -7, '-7'],
    ['Number', '42', '42'],
    ['Number', 42n, '42'],
    ['Number', new Int32(42), '42'],
    ['Number', new Double(42), '42'],
    ['Number', { _id: Number.MAX_SAFE_INTEGER }, '9007199254740991'],
    ['UUID', uuid, uuid],
    ['UUID', uuid.toUpperCase(), uuid],
    ['UUID', new UUID(uuid), uuid],
    ['UUID', new Binary(bytes, 4), uuid],
    ['UUID', roomy, uuid],
    ['UUID', { _id: new UUID(uuid) }, uuid],
    ['BigInt', 1, '1'],
    ['BigInt', max, String(max)],
    ['BigInt', String(-max - 1n), String(-max - 1n)],
    ['BigInt', Long.fromBigInt(max), String(max)],
    ['BigInt', { _id: 5n }, '5'],
  ])('%s: %p', (type, value, text) => {
    expect(conversationIdOf(value, type)).toBe(text);
    expect(requireIdText(type, text)).toBe(text);
  });

  const operators: readonly unknown[] = [
    { $ne: null },
    { $gt: '' },
    { _id: { $ne: null } },
    [hex],
    [],
    null,
    undefined,
  ];
  const claims = ['ObjectId', 'Long', 'Int32', 'Double', 'Binary'].flatMap((_bsontype) => [
    { _bsontype },
    { _bsontype, sub_type: 4, position: 16, buffer: '0123456789abcdef' },
    { _bsontype, sub_type: 4, position: 16, buffer: { byteLength: 16, length: 16 } },
    { _bsontype, toString: 7, toHexString: hex, low: 1, high: 0 },
  ]);
  it.each<[ConversationIdType, readonly unknown[], RegExp]>([
    ['ObjectId', ['abcdefghijkl', 'x', '', 7, new UUID(uuid)], /24 hex digits or an ObjectId/],
    [
      'String',
      ['', 'x'.repeat(201), 'ä'.repeat(101), '\ud800', 'a\udc00', 7, 7n, true],
      /1 to 200 bytes of UTF-8/,
    ],
    [
      'Number',
      [
        0.5,
        Number.NaN,
        Number.POSITIVE_INFINITY,
        2 ** 53,
        2n ** 53n,
        '9007199254740992',
        '007',
        '-0',
        '+1',
        '1e3',
        '0x1',
        ' 1',
        '1 ',
        '',
        '١',
      ],
      /a whole number, at most 2 \*\* 53 - 1/,
    ],
    [
      'UUID',
      [hex, uuid.replaceAll('-', ''), new Binary(bytes, 3), new Binary(bytes.subarray(1), 4), bytes],
      /a UUID/,
    ],
    [
      'BigInt',
      [
        2 ** 53,
        max + 1n,
        String(max + 1n),
        '-9223372036854775809',
        '9'.repeat(1_000_000),
        '',
        '1n',
        Decimal128.fromString('1'),
      ],
      /64 bits/,
    ],
  ])('%s: what is none is refused by a word on what is one', (type, none, expected) => {
    for (const value of [...none, ...operators, ...claims]) {
      expect(() => conversationIdOf(value, type)).toThrow(InvalidInputError);
      expect(() => conversationIdOf(value, type)).toThrow(expected);
      expect(() => requireIdText(type, value)).toThrow(InvalidInputError);
    }
  });

  it('is read of what is stored, of whichever type', () => {
    for (const [stored, text] of [
      [new ObjectId(hex), hex],
      ['Trip/1', 'Trip/1'],
      [7, '7'],
      [Long.fromBigInt(max), String(max)],
      [new Binary(bytes, 4), uuid],
    ])
      expect(storedIdText(stored)).toBe(text);
    for (const none of [null, undefined, 0.5, true, {}, [], new Date(0)]) expect(storedIdText(none)).toBe('');
  });
});

describe('the safe name of an id', () => {
  const texts = fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom(...hostileIds));

  it('is that of no other id, on a disk that tells no case apart either', () => {
    const names = hostileIds.map((id) => safeName(id).toLowerCase().normalize('NFC'));
    expect(new Set(names).size).toBe(hostileIds.length);
    fc.assert(
      fc.property(texts, texts, (one, two) => {
        expect(safeName(one).toLowerCase() === safeName(two).toLowerCase()).toBe(one === two);
      }),
    );
  });

  it('is a name of letters, digits and dashes, and says nothing', () => {
    for (const id of hostileIds) expect(safeName(id)).toMatch(/^([0-9a-f]{24}|id-[0-9a-f]{40})$/);
    expect(safeName('alice@example.com')).not.toContain('alice');
  });

  it('is the id itself where that is 24 hex digits: what is stored goes on', () => {
    expect(safeName(hex)).toBe(hex);
    expect(ownDirectory({ sandboxRoot: '/s', prefix: 'p' }, { collection: 'trips' }, hex)).toBe(`/s/${hex}`);
  });

  it('is another one in another deployment, or of another model: hosts begin at 1 in each', () => {
    const directories = [
      ['p', 'trips'],
      ['q', 'trips'],
      ['p', 'invoices'],
      ['p-trips', ''],
    ].map(([prefix = '', collection = '']) =>
      ownDirectory({ sandboxRoot: '/s', prefix }, { collection }, '1'),
    );
    expect(new Set(directories).size).toBe(4);
  });
});

it('any text is either that of exactly one id or of none', () => {
  const types: readonly ConversationIdType[] = ['ObjectId', 'String', 'Number', 'UUID', 'BigInt'];
  const values = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.integer(),
    fc.bigInt(),
    fc.uuid(),
    fc.constantFrom(...hostileIds),
  );
  fc.assert(
    fc.property(values, fc.constantFrom(...types), (value, type) => {
      const text = idText(type, value);
      if (text !== undefined) expect(idText(type, text)).toBe(text);
    }),
  );
});
