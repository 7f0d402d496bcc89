import type { Part } from './part.ts';
import { toolPart } from './tool-part.ts';
import type { WirePart } from './wire.ts';

/**
 * A wire part as one of ours, or undefined for kinds that are no part of a reply (step marks, patches, files)
 * and for texts that upstream wrote itself.
 */
export function parsePart(wire: WirePart, known?: Part): Part | undefined {
  if (wire.type === 'tool') return toolPart(wire, known?.type === 'tool' ? known : undefined);
  if (wire.type !== 'text' && wire.type !== 'reasoning') return undefined;
  if (wire.synthetic === true || wire.ignored === true) return undefined;
  const text = typeof wire.text === 'string' ? wire.text : '';
  return { id: wire.id, messageId: wire.messageID, source: 'wire', type: wire.type, text };
}

/** True when nothing will be added to a text any more. */
export function isEnded(wire: WirePart): boolean {
  const { time } = wire;
  return typeof time === 'object' && time !== null && 'end' in time && typeof time.end === 'number';
}

/** Texts joined by a blank line, empty ones left out. */
export function joinText(parts: readonly Part[], type: 'text' | 'reasoning'): string {
  return parts.flatMap((part) => (part.type === type && part.text !== '' ? [part.text] : [])).join('\n\n');
}
