/** BSON values: which type, which order, which ones are equal. */
import {
  Binary,
  BSONRegExp,
  Decimal128,
  Double,
  Int32,
  Long,
  MaxKey,
  MinKey,
  ObjectId,
  Timestamp,
} from 'bson';
import { CommandError } from './errors.ts';
import { compareNumbers, numberText } from './numbers.ts';

export type Doc = Record<string, unknown>;

export function isDoc(value: unknown): value is Doc {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

interface TypeRow {
  readonly name: string;
  /** Number and alias of `$type`. */
  readonly numbers: readonly number[];
  /** Place in the order of types; values compare only within one place. */
  readonly rank: number;
  readonly is: (value: unknown) => boolean;
}

const isInt32 = (value: unknown) =>
  typeof value === 'number' &&
  Number.isInteger(value) &&
  Math.abs(value) <= 0x7fffffff &&
  !Object.is(value, -0);

const types: readonly TypeRow[] = [
  { name: 'minKey', numbers: [-1], rank: 0, is: (value) => value instanceof MinKey },
  { name: 'null', numbers: [10], rank: 1, is: (value) => value === null || value === undefined },
  { name: 'int', numbers: [16], rank: 2, is: (value) => isInt32(value) || value instanceof Int32 },
  { name: 'long', numbers: [18], rank: 2, is: (value) => value instanceof Long || typeof value === 'bigint' },
  { name: 'decimal', numbers: [19], rank: 2, is: (value) => value instanceof Decimal128 },
  {
    name: 'double',
    numbers: [1],
    rank: 2,
    is: (value) => typeof value === 'number' || value instanceof Double,
  },
  { name: 'string', numbers: [2], rank: 3, is: (value) => typeof value === 'string' },
  { name: 'object', numbers: [3], rank: 4, is: isDoc },
  { name: 'array', numbers: [4], rank: 5, is: Array.isArray },
  { name: 'binData', numbers: [5], rank: 6, is: (value) => value instanceof Binary },
  { name: 'objectId', numbers: [7], rank: 7, is: (value) => value instanceof ObjectId },
  { name: 'bool', numbers: [8], rank: 8, is: (value) => typeof value === 'boolean' },
  { name: 'date', numbers: [9], rank: 9, is: (value) => value instanceof Date },
  { name: 'timestamp', numbers: [17], rank: 10, is: (value) => value instanceof Timestamp },
  { name: 'regex', numbers: [11], rank: 11, is: (value) => value instanceof BSONRegExp },
  { name: 'maxKey', numbers: [127], rank: 12, is: (value) => value instanceof MaxKey },
];

function rowOf(value: unknown): TypeRow {
  // Timestamp is a kind of Long: the more special row has to win.
  const row =
    value instanceof Timestamp
      ? types.find(({ name }) => name === 'timestamp')
      : types.find(({ is }) => is(value));
  if (!row) throw new CommandError(2, 'this server does not know the BSON type of a value');
  return row;
}

export const rankOf = (value: unknown): number => rowOf(value).rank;

/** Whether a value is of a type named as `$type` names it. */
export function isOfType(value: unknown, wanted: unknown): boolean {
  return wanted === 'number' ? rankOf(value) === 2 : rowOf(value) === typeRow(wanted);
}

/** Throws for the name or number of a type that does not exist, or is not known here. */
export function checkType(wanted: unknown): void {
  if (wanted !== 'number') typeRow(wanted);
}

function typeRow(wanted: unknown): TypeRow {
  const row = types.find(
    ({ name, numbers }) => name === wanted || (typeof wanted === 'number' && numbers.includes(wanted)),
  );
  if (row) return row;
  throw new CommandError(2, `Unknown type name alias: ${String(wanted)}`);
}

const compareScalars = <T extends number | bigint | string>(a: T, b: T) => (a < b ? -1 : a > b ? 1 : 0);

/** MongoDB's order over all values. */
export function compare(a: unknown, b: unknown): number {
  const rank = rankOf(a);
  const byType = rank - rankOf(b);
  if (byType !== 0) return byType;
  if (rank === 2) return compareNumbers(a, b);
  if (rank === 4) return compareLists(flat(a as Doc), flat(b as Doc));
  if (rank === 5) return compareLists(a as unknown[], b as unknown[]);
  if (rank === 9) return compareScalars((a as Date).getTime(), (b as Date).getTime());
  if (rank === 10) return compareScalars((a as Timestamp).toBigInt(), (b as Timestamp).toBigInt());
  if (rank === 11) return compareScalars(regexText(a as BSONRegExp), regexText(b as BSONRegExp));
  if (rank === 6) return compareBinary(a as Binary, b as Binary);
  if (rank === 1 || rank === 0 || rank === 12) return 0;
  return compareScalars(String(a), String(b));
}

const regexText = ({ pattern, options }: BSONRegExp) => `/${pattern}/${options}`;

function compareBinary(a: Binary, b: Binary): number {
  return (
    a.length() - b.length() ||
    a.sub_type - b.sub_type ||
    Buffer.compare(Buffer.from(a.value()), Buffer.from(b.value()))
  );
}

/** Documents compare field by field: type, then name, then value. */
const flat = (doc: Doc): unknown[] =>
  Object.entries(doc).flatMap(([key, value]) => [rankOf(value), key, value]);

function compareLists(a: readonly unknown[], b: readonly unknown[]): number {
  for (let at = 0; at < Math.min(a.length, b.length); at += 1) {
    const order = compare(a[at], b[at]);
    if (order !== 0) return order;
  }
  return a.length - b.length;
}

/** A text that is the same for equal values, and only for them: the key of hash indexes. */
export function keyOf(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(keyOf).join(',')}]`;
  if (isDoc(value))
    return `{${Object.entries(value)
      .map(([key, item]) => `${JSON.stringify(key)}:${keyOf(item)}`)
      .join(',')}}`;
  const rank = rankOf(value);
  if (rank === 2) return `n${numberText(value)}`;
  if (rank === 11) return regexText(value as BSONRegExp);
  if (rank === 3) return JSON.stringify(value);
  if (rank === 9) return `d${(value as Date).getTime()}`;
  if (value instanceof Binary) return `x${value.sub_type}:${Buffer.from(value.value()).toString('base64')}`;
  return rank === 1 ? 'null' : `${rank}:${String(value)}`;
}

export const equal = (a: unknown, b: unknown): boolean => keyOf(a) === keyOf(b);

/** A copy whose documents and arrays may be changed; scalars are shared, they never change. */
export function clone<T>(value: T): T {
  if (Array.isArray(value)) return value.map(clone) as T;
  if (!isDoc(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, clone(item)])) as T;
}
