/** Numbers of all BSON types, compared by value and exactly: 0.1 as a double is not 0.1 as a decimal. */
import { Decimal128, Double, Int32, Long } from 'bson';

/** A number for counts and arithmetic; a decimal loses what a double cannot hold. */
export function numberOf(value: unknown): number | bigint {
  if (typeof value === 'number' || typeof value === 'bigint') return value;
  if (value instanceof Long) return value.toBigInt();
  if (value instanceof Int32 || value instanceof Double) return value.valueOf();
  return Number(String(value));
}

/** Negative when `a` comes first. NaN comes before every other number, and equals itself. */
export function compareNumbers(a: unknown, b: unknown): number {
  const [x, y] = [numberOf(a), numberOf(b)];
  if (Number.isNaN(x) || Number.isNaN(y)) return Number(!Number.isNaN(x)) - Number(!Number.isNaN(y));
  const bothDecimal = a instanceof Decimal128 || b instanceof Decimal128;
  if (!bothDecimal || isInfinite(a) || isInfinite(b)) return x < y ? -1 : x > y ? 1 : 0;
  const [p, q] = [fractionOf(a), fractionOf(b)];
  const [left, right] = [p.over * q.under, q.over * p.under];
  return left < right ? -1 : left > right ? 1 : 0;
}

/** A text that is the same for equal numbers, and only for them. */
export function numberText(value: unknown): string {
  const number = numberOf(value);
  if (typeof number === 'bigint' || Number.isNaN(number)) return String(number);
  if (value instanceof Decimal128 && !isInfinite(value)) {
    const { over, under } = fractionOf(value);
    if (over % under === 0n) return String(over / under);
    return compareNumbers(value, number) === 0 ? String(number) : `${over}/${under}`;
  }
  if (number === 0) return '0';
  return Number.isInteger(number) ? String(BigInt(number)) : String(number);
}

const isInfinite = (value: unknown) => {
  if (value instanceof Decimal128) return /^-?Infinity$/.test(String(value));
  const number = numberOf(value);
  return typeof number === 'number' && !Number.isFinite(number);
};

interface Fraction {
  readonly over: bigint;
  readonly under: bigint;
}

/** Of a finite number. That of a decimal has no trailing zeros, so equal ones have equal fractions. */
function fractionOf(value: unknown): Fraction {
  if (value instanceof Decimal128) return decimalFraction(String(value));
  const number = numberOf(value);
  if (typeof number === 'bigint') return { over: number, under: 1n };
  let over = number;
  let under = 1n;
  for (; !Number.isInteger(over); under *= 2n) over *= 2;
  return { over: BigInt(over), under };
}

function decimalFraction(text: string): Fraction {
  const [, sign = '', whole = '0', part = '', power = '0'] =
    /^(-?)(\d+)(?:\.(\d+))?(?:E([+-]?\d+))?$/.exec(text) ?? [];
  const zeros = /0*$/.exec(`${whole}${part}`)?.[0].length ?? 0;
  const digits = BigInt(`${whole}${part}`.slice(0, whole.length + part.length - zeros) || '0');
  const exponent = Number(power) - part.length + zeros;
  const over = sign === '-' ? -digits : digits;
  if (over === 0n) return { over, under: 1n };
  const scale = 10n ** BigInt(Math.abs(exponent));
  return exponent < 0 ? { over, under: scale } : { over: over * scale, under: 1n };
}
