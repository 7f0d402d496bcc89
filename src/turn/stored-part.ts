import type { Part } from '../reply/part.ts';

/** The longest string of a tool part that is stored or told, in UTF-16 units. Files come as artifacts. */
export const maxToolTextLength = 32_768;
const maxDepth = 12;
const maxItems = 500;

/**
 * A part as it is stored and told to followers: text and reasoning whole, a tool's strings cut to a bound, so
 * that no tool call makes a document or a stream entry grow without limit.
 */
export function boundedPart(part: Part): Part {
  if (part.type !== 'tool') return part;
  const { output } = part;
  return {
    ...part,
    input: bounded(part.input, maxDepth) as Record<string, unknown>,
    metadata: bounded(part.metadata, maxDepth) as Record<string, unknown>,
    ...(output === undefined ? {} : { output: cut(output) }),
  };
}

function cut(text: string): string {
  if (text.length <= maxToolTextLength) return text;
  return `${text.slice(0, maxToolTextLength)}\n[${text.length - maxToolTextLength} more characters]`;
}

function bounded(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return cut(value);
  if (typeof value !== 'object' || value === null) return value;
  if (depth === 0) return null;
  if (Array.isArray(value)) return value.slice(0, maxItems).map((item) => bounded(item, depth - 1));
  const entries = Object.entries(value).slice(0, maxItems);
  return Object.fromEntries(entries.map(([key, item]) => [key, bounded(item, depth - 1)]));
}
