/** Texts of BSON values that sort as the values do. */
import { Decimal128 } from 'bson';
import { isOperators } from './match.ts';
import { numberOf } from './numbers.ts';
import { type Doc, rankOf } from './values.ts';

/** Above every text that follows one of these within a longer key: each begins with a rank. */
export const above = '\u007f';

/** The place of a type among the others; all values of one type begin with it. */
const rankKey = (value: unknown, next = 0): string => String.fromCharCode(0x30 + rankOf(value) + next);

/**
 * Undefined for a value that has no such text: an index that holds one keeps no order. Each text ends where the next one in a
 * key begins: it has a fixed length, or an end of its own.
 */
export function orderKey(value: unknown): string | undefined {
  const rank = rankKey(value);
  const body = bodyOf(value);
  return body === undefined ? undefined : rank + body;
}

function bodyOf(value: unknown): string | undefined {
  switch (rankOf(value)) {
    case 1:
      return '';
    case 2:
      return value instanceof Decimal128 ? undefined : numberKey(Number(numberOf(value)));
    case 3:
      return `${String(value).replaceAll('\u0000', '\u0000\u0001')}\u0000\u0000`;
    case 7:
      return String(value);
    case 8:
      return value ? '1' : '0';
    case 9:
      return numberKey((value as Date).getTime());
    default:
      return undefined;
  }
}

/** Types whose order is that of their texts, from end to end: conditions on others say nothing about a place. */
const ranged = new Set([2, 3, 7, 9]);

/** Between which texts the values lie that a condition may find; undefined when it bounds nothing. Values compare within one type. */
export function boundsOf(condition: unknown): readonly [low: string, high: string] | undefined {
  if (!isOperators(condition)) return undefined;
  const lows: string[] = [];
  const highs: string[] = [];
  for (const [operator, operand] of Object.entries(condition as Doc)) {
    const key = /^\$[gl]te?$/.test(operator) && ranged.has(rankOf(operand)) ? orderKey(operand) : undefined;
    if (key === undefined) continue;
    const isLow = operator.startsWith('$g');
    const past = operator === '$gt' || operator === '$lte' ? above : '';
    lows.push(isLow ? key + past : rankKey(operand));
    highs.push(isLow ? rankKey(operand, 1) : key + past);
  }
  const [low, high] = [lows.sort().at(-1), highs.sort()[0]];
  return low === undefined || high === undefined ? undefined : [low, high];
}

const bytes = new DataView(new ArrayBuffer(8));

/** The bits of a double, turned so that they sort; of a whole number that no double holds, and of NaN, nothing. */
function numberKey(number: number): string | undefined {
  if (Number.isNaN(number) || (Number.isInteger(number) && !Number.isSafeInteger(number))) return undefined;
  bytes.setFloat64(0, number === 0 ? 0 : number);
  const high = bytes.getUint32(0);
  const low = bytes.getUint32(4);
  const negative = high >= 0x8000_0000;
  return hex(negative ? ~high >>> 0 : high + 0x8000_0000) + hex(negative ? ~low >>> 0 : low);
}

const hex = (value: number) => value.toString(16).padStart(8, '0');
