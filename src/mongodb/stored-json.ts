import type { Part } from '../reply/part.ts';
import { isPart } from '../turn/entry.ts';

/** Undefined for what is no JSON. */
export function readJson(text: unknown): unknown {
  try {
    return JSON.parse(text as string);
  } catch {
    return undefined;
  }
}

/** What was stored as an object; undefined for anything else. */
export function readObject(text: unknown): Readonly<Record<string, unknown>> | undefined {
  const value = readJson(text);
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
  return isObject ? (value as Record<string, unknown>) : undefined;
}

/** The parts of a message that can be read; not `whole` when anything else stands where they are. */
export function readParts(text: unknown): { readonly parts: readonly Part[]; readonly whole: boolean } {
  const value = readJson(text);
  if (!Array.isArray(value)) return { parts: [], whole: false };
  const parts = value.filter(isPart);
  return { parts, whole: parts.length === value.length };
}
