import { boundedPart, partBytes } from '../bounds/bounded-part.ts';
import { bytesOf, fittedParts } from '../bounds/bounded-reply.ts';
import { byteBudget } from '../bounds/byte-budget.ts';
import { keptOf } from '../bounds/cut-text.ts';
import { commonLength } from '../reply/common-length.ts';
import type { Part } from '../reply/part.ts';
import { sameValue } from '../reply/same-value.ts';
import type { TurnEntryBody } from '../turn/entry.ts';

/** Followers hold at most so much before the older parts are cut as they are stored: not at each part, since all are looked at. */
const maxToldBytes = 1.25 * byteBudget.parts;

/**
 * Turns changes of parts into the fewest entries that bring followers from what they were told to what is now.
 * Keeps no queue of deltas: a part that changed a hundred times between two drains gives one entry, so a slow
 * or absent Redis costs no memory. What is told of a part is what is stored of it, however large it is. Pure.
 *
 * Does: coalesce, cut text into exact continuations, keep the order of other entries. Does not: send.
 */
export class EntryBuffer {
  /** As followers hold them. */
  #told: Map<string, Part>;
  #toldBytes: number;
  #changed = new Map<string, { part: Part; rewritten: boolean }>();
  #others: TurnEntryBody[] = [];
  #whole: readonly Part[] | undefined;

  /** `told`: the parts that followers hold already; every one of them counts as unverified until it is told again. */
  constructor(told: readonly Part[] = []) {
    this.#told = byId(told);
    this.#toldBytes = bytesOf(told);
    for (const part of told) this.#changed.set(part.id, { part, rewritten: true });
  }

  /** `rewritten`: the text may be no mere continuation of what was told. */
  change(part: Part, rewritten = false): void {
    const known = this.#changed.get(part.id);
    this.#changed.set(part.id, { part, rewritten: rewritten || known?.rewritten === true });
  }

  /** All parts, in place of everything told before. */
  reset(parts: readonly Part[]): void {
    this.#changed.clear();
    this.#whole = parts;
  }

  /** These parts, as they are stored in the end, in place of every change that is still to be told. */
  settle(parts: readonly Part[]): void {
    this.#changed.clear();
    this.#whole = undefined;
    if (!sameIds([...this.#told.values()], parts)) this.#whole = parts;
    else for (const part of parts) this.change(part, true);
  }

  /** Any other entry; they keep their order among themselves and come after the parts. */
  add(entry: TurnEntryBody): void {
    this.#others.push(entry);
  }

  get empty(): boolean {
    return this.#changed.size === 0 && this.#others.length === 0 && this.#whole === undefined;
  }

  /** The entries to send now, which count as told: after a failed append, `rebase`. `current`: all parts as they are now. */
  drain(current: () => readonly Part[]): TurnEntryBody[] {
    const entries: TurnEntryBody[] = [];
    if (this.#whole) this.#tellAll(fittedParts(this.#whole), entries);
    for (const { part, rewritten } of this.#changed.values()) {
      this.#tell(boundedPart(part), rewritten, entries);
    }
    if (this.#toldBytes > maxToldBytes) this.#fit(fittedParts(current()), entries);
    entries.push(...this.#others);
    this.#changed = new Map();
    this.#others = [];
    this.#whole = undefined;
    return entries;
  }

  /** After a failed append: `told` is what followers hold after all, `current` what is now. */
  rebase(told: readonly Part[], current: readonly Part[]): void {
    this.#told = byId(told);
    this.#toldBytes = bytesOf(told);
    const stillTrue = told.every(({ id }, at) => current[at]?.id === id);
    if (!stillTrue) this.reset(current);
    else for (const part of current) this.change(part, true);
  }

  #fit(parts: readonly Part[], entries: TurnEntryBody[]): void {
    if (!sameIds([...this.#told.values()], parts)) this.#tellAll(parts, entries);
    else for (const part of parts) this.#tell(part, true, entries);
  }

  #tellAll(parts: readonly Part[], entries: TurnEntryBody[]): void {
    entries.push({ type: 'parts', parts });
    this.#told = byId(parts);
    this.#toldBytes = bytesOf(parts);
  }

  #tell(part: Part, rewritten: boolean, entries: TurnEntryBody[]): void {
    const told = this.#told.get(part.id);
    const entry = entryFor(told, part, rewritten);
    if (!entry) return;
    entries.push(entry);
    this.#told.set(part.id, part);
    this.#toldBytes += partBytes(part) - (told ? partBytes(told) : 0);
  }
}

const byId = (parts: readonly Part[]) => new Map(parts.map((part) => [part.id, part]));

const sameIds = (a: readonly Part[], b: readonly Part[]) =>
  a.length === b.length && a.every(({ id }, at) => b[at]?.id === id);

function entryFor(told: Part | undefined, part: Part, rewritten: boolean): TurnEntryBody | undefined {
  if (told && told.type !== 'tool' && part.type === told.type) {
    const kept = keptOf(told.text);
    const cut = kept !== undefined || keptOf(part.text) !== undefined;
    // What was cut goes on behind what is left of it: its mark is replaced.
    const offset = cut ? commonBeginning(kept ?? '', told.text, part.text) : told.text.length;
    const continues = part.text.length >= offset && (!rewritten || part.text.startsWith(told.text));
    if (cut || continues) {
      if (told.text === part.text) return undefined;
      return { type: 'text', partId: part.id, offset, delta: part.text.slice(offset) };
    }
  }
  if (told === part || (rewritten && sameValue(told, part))) return undefined;
  return { type: 'part', part };
}

/** `kept` is known to begin the first text, and begins the second as a rule. */
const commonBeginning = (kept: string, a: string, b: string) =>
  kept !== '' && b.startsWith(kept) ? kept.length : commonLength(a, b);
