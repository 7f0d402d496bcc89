import type { Cursors } from './cursors.ts';
import type { Databases } from './database.ts';
import { CommandError } from './errors.ts';
import { numberOf } from './numbers.ts';
import { type Doc, isDoc, isOfType } from './values.ts';

/** What a command works on. */
export interface CommandContext {
  readonly databases: Databases;
  readonly cursors: Cursors;
  readonly database: string;
}

const wrongType = (what: string, type: string) =>
  new CommandError(14, `'${what}' is the wrong type, expected ${type}`);

/** An object, or an empty one where none is given; anything else in its place is refused, not overlooked. */
export function docOf(value: unknown, what: string): Doc {
  if (value === undefined) return {};
  if (isDoc(value)) return value;
  throw wrongType(what, 'object');
}

export function listOf(value: unknown, what: string): readonly Doc[] {
  if (Array.isArray(value)) return value.map((item, at) => docOf(item ?? null, `${what}.${at}`));
  throw wrongType(what, 'array');
}

/** A count, undefined where none is given. */
export function countOf(value: unknown, what: string): number | undefined {
  if (value === undefined || value === null) return undefined;
  if (!isOfType(value, 'number')) throw wrongType(what, 'number');
  const count = Number(numberOf(value));
  if (count >= 0) return Math.trunc(count);
  throw new CommandError(51024, `BSON field '${what}' value must be >= 0, actual value '${count}'`);
}

export const nameOf = (value: unknown): string => {
  if (typeof value === 'string') return value;
  throw new CommandError(73, 'collection name has invalid type');
};
