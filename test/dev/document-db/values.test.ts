import '../../support/fuzz-seed.ts';
import { expect, it } from '@jest/globals';
import { Binary, BSONRegExp, Decimal128, Long, ObjectId, Timestamp } from 'bson';
import fc from 'fast-check';
import { compare, equal } from '../../../dev/document-db/values.ts';

const decimal = (text: string) => Decimal128.fromString(text);

/** Numbers that meet across their types: small ones, halves, the edges of what a double and a long can hold. */
const numbers = fc.oneof(
  fc.integer({ min: -3, max: 3 }),
  fc.constantFrom(0.1, 0.5, -0, 2 ** 53, 2 ** 60, Number.NaN, Number.POSITIVE_INFINITY, 1e300, 5e-324),
  fc
    .constantFrom('9007199254740993', '1152921504606846976', '1152921504606846977')
    .map((text) => Long.fromString(text)),
  fc
    .constantFrom(
      '0.1',
      '0.10',
      '0.5',
      '1',
      '1.0',
      '1E+1',
      '10',
      '0E-5',
      '-0',
      '9007199254740993',
      'NaN',
      'Infinity',
      '1152921504606846976',
    )
    .map(decimal),
);
const values = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 2 },
    numbers,
    fc.constantFrom<unknown>(
      null,
      undefined,
      true,
      false,
      '',
      'a',
      'null',
      new Date(0),
      new Date(5),
      new ObjectId('0123456789abcdef01234567'),
      new Binary(Buffer.from('a')),
      new Binary(Buffer.from('a'), 4),
      new Timestamp(5n),
      new BSONRegExp('a'),
      new BSONRegExp('a', 'i'),
    ),
    fc.array(tie('value'), { maxLength: 2 }),
    fc.dictionary(fc.constantFrom('a', 'b'), tie('value'), { maxKeys: 2, noNullPrototype: true }),
  ),
})).value;

it('the order of values is one: equal is equal both ways, and nothing comes both before and after', () => {
  fc.assert(
    fc.property(values, values, values, (a, b, c) => {
      expect(Math.sign(compare(a, b)) + Math.sign(compare(b, a))).toBe(0);
      expect(equal(a, b)).toBe(compare(a, b) === 0);
      expect(equal(a, a)).toBe(true);
      if (compare(a, b) <= 0 && compare(b, c) <= 0) expect(compare(a, c)).toBeLessThanOrEqual(0);
    }),
    { numRuns: 3_000 },
  );
});

it.each<[unknown, '<' | '=' | '>', unknown]>([
  [1, '=', decimal('1.00')],
  [0.5, '=', decimal('0.5')],
  // A double of a tenth is a little more than that.
  [0.1, '>', decimal('0.1')],
  [decimal('0.1'), '=', decimal('0.10')],
  [decimal('0.1000000000000000000000000000000001'), '>', decimal('0.1')],
  [2 ** 53, '<', Long.fromString('9007199254740993')],
  [decimal('9007199254740993'), '=', Long.fromString('9007199254740993')],
  [decimal('Infinity'), '>', 1e300],
  [decimal('NaN'), '=', Number.NaN],
  [Number.NaN, '<', Number.NEGATIVE_INFINITY],
  [-0, '=', 0],
  ['9', '>', 10],
  [{ a: 1, b: 2 }, '<', { b: 2, a: 1 }],
])('%p %s %p', (a, sign, b) => {
  expect({ '<': -1, '=': 0, '>': 1 }[sign]).toBe(Math.sign(compare(a, b)));
});
