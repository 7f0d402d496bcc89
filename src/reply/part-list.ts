import type { Part, ToolPart } from './part.ts';
import type { ReplyObservers } from './reply-observer.ts';
import { isEnded, parsePart } from './response-parser.ts';
import { isTerminal } from './tool-part.ts';
import type { WirePart } from './wire.ts';

interface Held {
  part: Part;
  /** The text is final: later deltas and older updates change nothing. */
  ended: boolean;
  /** Deltas may have been missed: only a whole text is believed. */
  torn: boolean;
}

/**
 * The parts of a reply in order of first appearance, and the rules by which texts and tools grow. Idempotent:
 * the same update twice changes nothing the second time.
 */
export class PartList {
  readonly #observers: ReplyObservers;
  #held = new Map<string, Held>();
  #broken = false;

  constructor(observers: ReplyObservers) {
    this.#observers = observers;
  }

  get parts(): readonly Part[] {
    return Array.from(this.#held.values(), ({ part }) => part);
  }

  get(partId: string): Part | undefined {
    return this.#held.get(partId)?.part;
  }

  /** The newest tool part that fits. Searches from the end: it is mostly there. */
  findTool(fits: (part: ToolPart) => boolean): ToolPart | undefined {
    return this.parts.findLast((part): part is ToolPart => part.type === 'tool' && fits(part));
  }

  /** An authoritative update. `final`: its message is complete, so the text is, with or without an end time. */
  update(wire: WirePart, final = false): void {
    const held = this.#held.get(wire.id);
    const part = parsePart(wire, held?.part);
    if (!part) return;
    if (part.type === 'tool') this.#updateTool(part, held);
    else this.#updateText(part, held, final || isEnded(wire));
  }

  /** Appends to a text. A part that nobody has announced is made, unless its beginning may have been missed. */
  grow(partId: string, messageId: string, delta: string): void {
    const held = this.#held.get(partId);
    if (!held) {
      if (this.#broken) return;
      this.#add({ id: partId, messageId, source: 'wire', type: 'text', text: delta });
      return;
    }
    if (held.ended || held.torn || held.part.type === 'tool' || delta === '') return;
    held.part = { ...held.part, text: held.part.text + delta };
    this.#observers.tell('partChanged', held.part, { delta, replaced: false });
  }

  /** Replaces a tool part by a richer one, made elsewhere (todos, questions). */
  replaceTool(part: ToolPart): void {
    this.#updateTool(part, this.#held.get(part.id));
  }

  /** The stream broke: what grows now may grow with a hole, so it waits for a whole text. */
  tear(): void {
    this.#broken = true;
    for (const held of this.#held.values()) if (!held.ended) held.torn = true;
  }

  /** Starts over with these parts; unfinished texts wait for a whole text. Nobody is told. */
  reset(parts: readonly Part[]): void {
    this.#broken = true;
    this.#held = new Map(parts.map((part) => [part.id, { part, ended: false, torn: true }]));
  }

  /** Brings order and membership to `ids` (wire parts); stream-only parts keep their place behind their neighbour. */
  arrange(ids: readonly string[]): void {
    const wanted = new Set(ids);
    const current = [...this.#held.keys()];
    const order = [...ids];
    for (const [at, id] of current.entries()) {
      if (this.#held.get(id)?.part.source !== 'stream' || wanted.has(id)) continue;
      const before = current.slice(0, at).findLast((other) => order.includes(other));
      order.splice(before === undefined ? 0 : order.indexOf(before) + 1, 0, id);
    }
    if (order.length === current.length && order.every((id, at) => id === current[at])) return;
    this.#held = new Map(
      order.flatMap((id) => (this.#held.has(id) ? [[id, this.#held.get(id) as Held]] : [])),
    );
    this.#observers.tell('partsReset', this.parts);
  }

  remove(partId: string): void {
    if (this.#held.delete(partId)) this.#observers.tell('partsReset', this.parts);
  }

  #add(part: Part, ended = false, torn = false): void {
    this.#held.set(part.id, { part, ended, torn });
    this.#observers.tell('partAdded', part);
  }

  #updateTool(part: ToolPart, held: Held | undefined): void {
    if (!held) {
      this.#add(part, isTerminal(part));
    } else {
      const same = JSON.stringify(held.part) === JSON.stringify(part);
      if (same) return;
      held.part = part;
      held.torn = false;
      this.#observers.tell('toolProgressed', part);
    }
    const now = this.#held.get(part.id);
    if (!now || !isTerminal(part) || (held?.ended ?? false)) return;
    now.ended = true;
    this.#observers.tell('partFinalized', part);
  }

  #updateText(part: Exclude<Part, ToolPart>, held: Held | undefined, ended: boolean): void {
    if (!held) {
      // A text that is not ended and not empty was read in the middle: the deltas in flight are part of it.
      this.#add(part, ended, !ended && part.text !== '');
      if (ended) this.#observers.tell('partFinalized', part);
      return;
    }
    if (held.ended && !ended) return;
    const old = held.part;
    const oldText = old.type === 'tool' ? '' : old.text;
    const stale = !ended && oldText.startsWith(part.text);
    const wasEnded = held.ended;
    if (ended) {
      held.ended = true;
      held.torn = false;
    } else if (part.text !== '' && !stale) held.torn = true;
    if (!stale && (part.text !== oldText || part.type !== old.type)) this.#rewrite(held, part, oldText);
    else if (part.type !== old.type) this.#rewrite(held, { ...part, text: oldText }, oldText);
    if (ended && !wasEnded) this.#observers.tell('partFinalized', held.part);
  }

  #rewrite(held: Held, part: Exclude<Part, ToolPart>, oldText: string): void {
    const replaced = held.part.type !== part.type || !part.text.startsWith(oldText);
    held.part = part;
    this.#observers.tell('partChanged', part, {
      delta: replaced ? '' : part.text.slice(oldText.length),
      replaced,
    });
  }
}
