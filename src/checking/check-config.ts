import { z } from 'zod';
import { InvalidConfigError } from '../errors.ts';
import { didYouMean } from './nearest-name.ts';

/** A function of the host's. What it returns is checked when it is called. */
export const functionOf = (what: string) =>
  z.custom<never>((value) => typeof value === 'function', `must be a function: ${what}`);

/**
 * Refuses what the schema does not know: unknown keys with the nearest known one, and values that no part of the
 * library would understand. `setting` is the path of the value. Throws InvalidConfigError that names the path of
 * what is wrong; values are shown only when they are short and plain.
 */
export function checkConfig(schema: z.ZodType, value: unknown, setting: string): void {
  const parsed = schema.safeParse(value);
  const issue = parsed.error?.issues[0];
  if (!issue) return;
  const path = [setting, ...issue.path.map(String)].filter((step) => step !== '');
  if (issue.code === 'unrecognized_keys') {
    const [key = ''] = issue.keys;
    const known = keysAt(schema, issue.path);
    throw new InvalidConfigError([...path, key].join('.'), unknownKey(key, known));
  }
  throw new InvalidConfigError(path.join('.'), problemOf(issue, valueAt(value, issue.path)));
}

export const unknownKey = (key: string, known: readonly string[]): string =>
  `is not known${didYouMean(key, known) || ` (known: ${known.join(', ')})`}`;

function problemOf(issue: z.core.$ZodIssue, value: unknown): string {
  if (issue.code === 'invalid_value') {
    const values = issue.values.map(String);
    const near = typeof value === 'string' ? didYouMean(value, values) : '';
    return `must be ${values.map((each) => `"${each}"`).join(' or ')}, not ${shown(value)}${near}`;
  }
  if (issue.code === 'invalid_type') return `must be of type ${issue.expected}, not ${shown(value)}`;
  return `${issue.message}, not ${shown(value)}`;
}

/** What may be shown of a value that a host gave: plain and short ones. */
export function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}…` : value);
  if (value === null || ['number', 'boolean', 'undefined'].includes(typeof value)) return String(value);
  return Array.isArray(value) ? 'a list' : `a value of type ${typeof value}`;
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((at, step) => (at as Record<PropertyKey, unknown> | undefined)?.[step], value);
}

/** The keys that the schema knows at that place. */
function keysAt(schema: z.ZodType, path: readonly PropertyKey[]): readonly string[] {
  let at: unknown = schema;
  for (const step of path) {
    at = bare(at);
    if (at instanceof z.ZodObject) at = at.shape[String(step)];
    else if (at instanceof z.ZodArray) at = at.element;
  }
  const found = bare(at);
  return found instanceof z.ZodObject ? Object.keys(found.shape) : [];
}

function bare(schema: unknown): unknown {
  return schema instanceof z.ZodOptional ? bare(schema.unwrap()) : schema;
}
