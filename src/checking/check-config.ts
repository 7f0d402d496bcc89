import { z } from 'zod';
import { InvalidConfigError } from '../errors.ts';
import { didYouMean } from './nearest-name.ts';

/** A function of the host's. What it returns is checked when it is called. */
export const functionOf = (what: string) =>
  z.custom<never>((value) => typeof value === 'function', `must be a function: ${what}`);

/**
 * What is used of what was given, by the schema: defaults filled in. Refuses what the schema does not know: unknown keys
 * with the nearest known one, and values that no part of the library would understand. `setting` is the path of the value.
 * Throws InvalidConfigError that names the path of what is wrong; values are shown only when they are short and plain, and
 * never where the schema says `secret`.
 */
export function checkConfig<S extends z.ZodType>(schema: S, value: unknown, setting: string): z.output<S> {
  const parsed = parse(schema, value, setting);
  const issue = parsed.error?.issues[0];
  if (!issue) return parsed.data as z.output<S>;
  const path = [setting, ...issue.path.map(String)].filter((step) => step !== '');
  if (issue.code === 'unrecognized_keys') {
    const [key = ''] = issue.keys;
    const known = keysAt(schema, issue.path);
    throw new InvalidConfigError([...path, key].join('.'), unknownKey(key, known));
  }
  const given = valueAt(value, issue.path);
  const secret = schemasOn(schema, issue.path).some(isSecret);
  throw new InvalidConfigError(
    path.join('.'),
    problemOf(issue, given, secret ? kindOf(given) : shown(given)),
  );
}

/** A getter of the host's may throw, and a proxy may do anything. */
function parse(schema: z.ZodType, value: unknown, setting: string) {
  try {
    return schema.safeParse(value);
  } catch {
    throw new InvalidConfigError(setting, 'cannot be read: one of its getters throws');
  }
}

export const unknownKey = (key: string, known: readonly string[]): string =>
  `is not known${didYouMean(key, known) || ` (known: ${known.join(', ')})`}`;

function problemOf(issue: z.core.$ZodIssue, value: unknown, told: string): string {
  if (issue.code === 'invalid_value') {
    const values = issue.values.map(String);
    const near = typeof value === 'string' ? didYouMean(value, values) : '';
    return `must be ${values.map((each) => `"${each}"`).join(' or ')}, not ${told}${near}`;
  }
  // The schema's own words, where it has some.
  const said = issue.message.startsWith('must ');
  if (issue.code === 'invalid_type' && !said) return `must be of type ${issue.expected}, not ${told}`;
  return `${issue.message}, not ${told}`;
}

/** What may be shown of a value that a host gave: plain and short ones. */
export function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}…` : value);
  if (value === null || ['number', 'boolean', 'undefined'].includes(typeof value)) return String(value);
  return kindOf(value);
}

function kindOf(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  return Array.isArray(value) ? 'a list' : `a value of type ${typeof value}`;
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((at, step) => (at as Record<PropertyKey, unknown> | undefined)?.[step], value);
}

/** The keys that the schema knows at that place. */
function keysAt(schema: z.ZodType, path: readonly PropertyKey[]): readonly string[] {
  const found = bare(schemasOn(schema, path).at(-1));
  return found instanceof z.ZodObject ? Object.keys(found.shape) : [];
}

/** The schemas on the way to that place, itself included. */
function schemasOn(schema: z.ZodType, path: readonly PropertyKey[]): readonly unknown[] {
  const all: unknown[] = [schema];
  for (const step of path) {
    const at = bare(all.at(-1));
    if (at instanceof z.ZodObject) all.push(at.shape[String(step)]);
    else if (at instanceof z.ZodArray) all.push(at.element);
  }
  return all;
}

function isSecret(schema: unknown): boolean {
  return [schema, bare(schema)].some((each) => each instanceof z.ZodType && each.meta()?.secret === true);
}

/** The schema itself, without what says that it may be left out, what stands for it then, and what is made of it. */
export function bare(schema: unknown): unknown {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault)
    return bare(schema.unwrap());
  return schema instanceof z.ZodPipe ? bare(schema.in) : schema;
}
