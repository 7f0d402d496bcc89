import { callKey } from './call-key.ts';
import { commonLength } from './common-length.ts';
import type { Part, ToolPart } from './part.ts';
import { arrange, isStreamOnly } from './part-source.ts';
import type { ReplyObservers } from './reply-observer.ts';
import { isEnded, parsePart } from './response-parser.ts';
import { sameValue } from './same-value.ts';
import { isTerminal } from './tool-part.ts';
import type { WirePart } from './wire.ts';

type Writing = Exclude<Part, ToolPart>;

interface Held {
  /** As it is shown. */
  part: Part;
  /** A tool part as the wire alone tells it. */
  wire: ToolPart | undefined;
  /** The text is final, or the tool terminal: later deltas and older updates change nothing. */
  ended: boolean;
  /** Deltas may have been missed: only a whole text is believed. */
  torn: boolean;
}

export interface ToolHooks {
  /** A tool part as the wire tells it is new or has changed; comes before anybody else is told. */
  seen(part: ToolPart): void;
  /** The same part with what the stream tells beside it. Called again by `refresh`. */
  dress(part: ToolPart): ToolPart;
}

/**
 * The parts of one session's reply in order of first appearance, and the rules by which texts and tools grow.
 * Idempotent but for deltas: the same update twice changes nothing the second time.
 */
export class PartList {
  readonly #observers: ReplyObservers;
  readonly #hooks: ToolHooks;
  #held = new Map<string, Held>();
  readonly #calls = new Map<string, string>();
  #broken = false;

  constructor(observers: ReplyObservers, hooks: ToolHooks) {
    this.#observers = observers;
    this.#hooks = hooks;
  }

  get parts(): readonly Part[] {
    return Array.from(this.#held.values(), ({ part }) => part);
  }

  get size(): number {
    return this.#held.size;
  }

  /** An authoritative update. `final`: its message is complete, so the text is, with or without an end time. */
  update(wire: WirePart, final = false): void {
    const held = this.#held.get(wire.id);
    const part = parsePart(wire, held?.wire);
    if (!part) {
      // A delta had announced a text; now it is known to be none.
      if (held) this.remove(wire.id);
    } else if (part.type === 'tool') this.#updateTool(part, held);
    else this.#updateText(part, held, final || isEnded(wire));
  }

  /** Appends to a text. A part that nobody has announced is made, unless its beginning may have been missed. */
  grow(partId: string, messageId: string, delta: string): void {
    const held = this.#held.get(partId);
    if (!held) {
      if (!this.#broken) this.#add({ id: partId, messageId, source: 'wire', type: 'text', text: delta });
      return;
    }
    const { part } = held;
    if (held.ended || held.torn || part.type === 'tool' || delta === '') return;
    held.part = { ...part, text: part.text + delta };
    this.#observers.tell('partChanged', held.part, { offset: part.text.length, delta, replaced: false });
  }

  /** Puts a part of no wire origin, or a newer version of it. */
  put(part: ToolPart): void {
    const held = this.#held.get(part.id);
    if (held) this.#show(held, part);
    else this.#add(part, undefined, true);
  }

  /** What the stream tells beside the tool part of this call (`callKey`) has changed. */
  refresh(call: string): void {
    const held = this.#held.get(this.#calls.get(call) ?? '');
    if (held?.wire) this.#show(held, this.#hooks.dress(held.wire));
  }

  /** The stream broke: what grows now may grow with a hole, so it waits for a whole text. */
  tear(): void {
    this.#broken = true;
    for (const held of this.#held.values()) if (!held.ended) held.torn = true;
  }

  /** Starts over with these parts, which were dressed and cut for storage: the wire's next word on each is whole. */
  reset(parts: readonly Part[]): void {
    this.#broken = true;
    this.#calls.clear();
    this.#held = new Map(parts.map((part) => [part.id, this.#adopted(part)]));
    for (const part of parts) if (part.type === 'tool' && !isStreamOnly(part)) this.#hooks.seen(part);
  }

  /** Brings order and membership to `settled` (ids), with the others that `stay` behind their neighbour. */
  arrange(settled: readonly string[], stays: (part: Part) => boolean): void {
    const before = this.parts;
    const after = arrange(before, settled, stays);
    if (after.length === before.length && after.every((part, at) => part === before[at])) return;
    this.#held = new Map(after.map((part) => [part.id, this.#held.get(part.id) ?? this.#adopted(part)]));
    this.#observers.tell('partsReset', after);
  }

  remove(partId: string): void {
    if (this.#held.delete(partId)) this.#observers.tell('partsReset', this.parts);
  }

  removeMessage(messageId: string): void {
    const gone = this.parts.filter((part) => part.messageId === messageId);
    for (const { id } of gone) this.#held.delete(id);
    if (gone.length > 0) this.#observers.tell('partsReset', this.parts);
  }

  #adopted(part: Part): Held {
    if (part.type !== 'tool') return { part, wire: undefined, ended: false, torn: true };
    if (!isStreamOnly(part)) this.#calls.set(callKey(part), part.id);
    return { part, wire: undefined, ended: isTerminal(part), torn: false };
  }

  #add(part: Part, wire?: ToolPart, ended = false, torn = false): void {
    this.#held.set(part.id, { part, wire, ended, torn });
    this.#observers.tell('partAdded', part);
    if (ended) this.#observers.tell('partFinalized', part);
  }

  #updateTool(wire: ToolPart, held: Held | undefined): void {
    if (held?.wire && sameValue(held.wire, wire)) return;
    if (held) held.wire = wire;
    this.#calls.set(callKey(wire), wire.id);
    this.#hooks.seen(wire);
    const part = this.#hooks.dress(wire);
    if (held) this.#progress(held, part);
    else this.#add(part, wire, isTerminal(wire));
  }

  #progress(held: Held, part: ToolPart): void {
    this.#show(held, part);
    if (held.ended || !isTerminal(part)) return;
    held.ended = true;
    this.#observers.tell('partFinalized', part);
  }

  #show(held: Held, part: ToolPart): void {
    if (sameValue(held.part, part)) return;
    held.part = part;
    held.torn = false;
    this.#observers.tell('toolProgressed', part);
  }

  #updateText(part: Writing, held: Held | undefined, ended: boolean): void {
    if (!held) {
      // A text that is not ended and not empty was read in the middle: the deltas in flight are part of it.
      this.#add(part, undefined, ended, !ended && part.text !== '');
      return;
    }
    if (held.ended && !ended) return;
    const known = held.part.type === 'tool' ? '' : held.part.text;
    const stale = !ended && known.startsWith(part.text);
    if (!stale && !ended) held.torn = true;
    this.#rewrite(held, stale ? { ...part, text: known } : part, known);
    if (!ended || held.ended) return;
    held.ended = true;
    this.#observers.tell('partFinalized', held.part);
  }

  #rewrite(held: Held, part: Writing, known: string): void {
    const retyped = held.part.type !== part.type;
    if (!retyped && part.text === known) return;
    held.part = part;
    held.wire = undefined;
    const offset = commonLength(known, part.text);
    const replaced = retyped || offset < known.length;
    this.#observers.tell('partChanged', part, { offset, delta: part.text.slice(offset), replaced });
  }
}
