import type { Part, ToolPart } from '../reply/part.ts';
import { maxTextPartBytes, maxToolPartBytes } from './byte-budget.ts';
import { cutText, jsonBytes } from './cut-text.ts';

const KiB = 1024;

/** How hard a part is cut: bytes of a text, bytes of each string of a tool part, items of each list and object in it. */
interface Cut {
  readonly text: number;
  readonly string: number;
  readonly items: number;
  readonly depth: number;
}

/** From the mildest to the hardest; each makes every part smaller than the one before it, or leaves it as it is. */
const cuts: readonly Cut[] = [
  { text: maxTextPartBytes - 4 * KiB, string: 32 * KiB, items: 500, depth: 12 },
  { text: 256 * KiB, string: 8 * KiB, items: 200, depth: 12 },
  { text: 32 * KiB, string: 2 * KiB, items: 50, depth: 8 },
  { text: 4 * KiB, string: 512, items: 20, depth: 5 },
  { text: 256, string: 128, items: 10, depth: 1 },
];
export const hardestCut = cuts.length - 1;

const bounds = { text: maxTextPartBytes, reasoning: maxTextPartBytes, tool: maxToolPartBytes } as const;

/** Parts are values that never change, and most are asked about again at each snapshot. */
const known = new WeakMap<Part, (Part | undefined)[]>();
const sizes = new WeakMap<Part, number>();

/**
 * A part as it is stored and told to followers, however large it is upstream: whole, or with its longest strings cut,
 * each with a mark that says how many bytes are left out. At most `maxTextPartBytes`, `maxToolPartBytes` of JSON.
 */
export function boundedPart(part: Part): Part {
  for (let level = 0; level < hardestCut; level += 1) {
    const bounded = cutPart(part, level);
    if (partBytes(bounded) <= bounds[part.type]) return bounded;
  }
  return cutPart(part, hardestCut);
}

/** A part cut to a level, 0 to `hardestCut`. The same one for the same part. */
export function cutPart(part: Part, level: number): Part {
  const done = known.get(part) ?? [];
  known.set(part, done);
  done[level] ??= part.type === 'tool' ? cutTool(part, cuts[level] as Cut) : cutWriting(part, level);
  return done[level];
}

/** Bytes of a part's JSON with the comma behind it. */
export function partBytes(part: Part): number {
  let bytes = sizes.get(part);
  if (bytes === undefined) {
    bytes = jsonBytes(part) + 1;
    sizes.set(part, bytes);
  }
  return bytes;
}

function cutWriting(part: Exclude<Part, ToolPart>, level: number): Part {
  const text = cutText(part.text, (cuts[level] as Cut).text);
  return text === part.text ? part : { ...part, text };
}

function cutTool(part: ToolPart, cut: Cut): ToolPart {
  const { output, title } = part;
  return {
    ...part,
    tool: cutText(part.tool, cut.string),
    callId: cutText(part.callId, 512),
    input: bounded(part.input, cut) as Record<string, unknown>,
    metadata: bounded(part.metadata, cut) as Record<string, unknown>,
    ...(title === undefined ? {} : { title: cutText(title, cut.string) }),
    ...(output === undefined ? {} : { output: cutText(output, cut.string) }),
  };
}

/** JSON-like data with its strings, lists, keys and depth cut. */
export function boundedValue(value: unknown, level: number): unknown {
  return bounded(value, cuts[level] as Cut);
}

function bounded(value: unknown, cut: Cut, depth = cut.depth): unknown {
  if (typeof value === 'string') return cutText(value, cut.string);
  if (typeof value !== 'object' || value === null) return value;
  if (depth === 0) return Array.isArray(value) ? [] : {};
  if (Array.isArray(value)) return value.slice(0, cut.items).map((item) => bounded(item, cut, depth - 1));
  const entries = Object.entries(value)
    .filter(([key]) => key.length <= cut.string)
    .slice(0, cut.items);
  return Object.fromEntries(entries.map(([key, item]) => [key, bounded(item, cut, depth - 1)]));
}
