import type { Part, ToolPart } from '../reply/part.ts';
import { boundedPart, cutPart, hardestCut, partBytes } from './bounded-part.ts';
import { byteBudget } from './byte-budget.ts';
import { cutText, jsonBytes, leftOutMark } from './cut-text.ts';

const leftOutId = 'parts-left-out';
/** More than the part has that stands for those which are left out, and the brackets of the list. */
const leftOutBytes = 512;

/**
 * The parts of a turn as they are stored and as followers hold them in the end: each one bounded, and all together
 * within the budget. The newest ones, half the budget's worth, stay whole; of the older ones the largest are cut, to
 * the same measure; and where that is not enough (some ten thousand parts) the oldest are left out, and one part in
 * their place says how many. Pure: the same parts give the same list.
 */
export function fittedParts(parts: readonly Part[], budget: number = byteBudget.parts): readonly Part[] {
  const whole = parts.filter(({ id }) => id !== leftOutId).map(boundedPart);
  const room = budget - leftOutBytes;
  if (bytesOf(whole) <= room) return whole;
  let first = whole.length;
  let newestBytes = 0;
  for (let at = first - 1; at >= 0; at -= 1) {
    newestBytes += partBytes(whole[at] as Part);
    if (newestBytes > room / 2) break;
    first = at;
  }
  const newest = whole.slice(first);
  const left = room - bytesOf(newest);
  for (let level = 1; ; level += 1) {
    const older = whole.slice(0, first).map((part) => cutPart(part, level));
    if (bytesOf(older) <= left) return [...older, ...newest];
    if (level === hardestCut) return [...withoutOldest(older, left), ...newest];
  }
}

/** Bytes of the parts as a list. */
export const bytesOf = (parts: readonly Part[]): number =>
  parts.reduce((sum, part) => sum + partBytes(part), 0);

function withoutOldest(parts: readonly Part[], room: number): readonly Part[] {
  let first = parts.length;
  for (let left = room; first > 0; first -= 1) {
    left -= partBytes(parts[first - 1] as Part);
    if (left < 0) break;
  }
  return [standIn(first), ...parts.slice(first)];
}

/** No part of the reply: it tells whoever shows the list that something came before. */
function standIn(count: number): ToolPart {
  return {
    id: leftOutId,
    messageId: '',
    source: 'stream',
    type: 'tool',
    tool: 'left-out',
    callId: '',
    status: 'completed',
    title: `${count} earlier parts left out`,
    input: {},
    metadata: { parts: count },
  };
}

/** The texts of a kind joined as in the reply, within the budget: the newest whole, the oldest cut or left out. */
export function fittedText(parts: readonly Part[], type: 'text' | 'reasoning', budget: number): string {
  const texts = parts.flatMap((part) => (part.type === type && part.text !== '' ? [part.text] : []));
  const joined = texts.join('\n\n');
  if (cutText(joined, budget) === joined) return joined;
  let left = budget - leftOutBytes;
  const kept: string[] = [];
  while (texts.length > 0 && left > leftOutBytes) {
    const text = cutText(texts.pop() as string, left);
    left -= jsonBytes(text) + 2;
    kept.unshift(text);
  }
  const gone = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
  return (gone > 0 ? [leftOutMark(gone), ...kept] : kept).join('\n\n');
}
