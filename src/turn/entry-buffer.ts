import type { Part } from '../reply/part.ts';
import { boundedPart } from './stored-part.ts';
import type { TurnEntryBody } from './turn-entry.ts';

/**
 * Turns changes of parts into the fewest entries that bring followers from what they were told to what is now.
 * Keeps no queue of deltas: a part that changed a hundred times between two drains gives one entry, so a slow
 * or absent Redis costs no memory. Pure.
 *
 * Does: coalesce, cut text into exact continuations, keep the order of other entries. Does not: send.
 */
export class EntryBuffer {
  #told: Map<string, Part>;
  #changed = new Map<string, { part: Part; rewritten: boolean }>();
  #others: TurnEntryBody[] = [];
  #whole: readonly Part[] | undefined;

  /** `told`: the parts that followers hold already; every one of them counts as unverified until it is told again. */
  constructor(told: readonly Part[] = []) {
    this.#told = new Map(told.map((part) => [part.id, part]));
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

  /** Any other entry; they keep their order among themselves and come after the parts. */
  add(entry: TurnEntryBody): void {
    this.#others.push(entry);
  }

  get empty(): boolean {
    return this.#changed.size === 0 && this.#others.length === 0 && this.#whole === undefined;
  }

  /** The entries to send now. Call `confirm` when they were appended; otherwise nothing is forgotten. */
  drain(): { entries: TurnEntryBody[]; confirm: () => void } {
    const changed = this.#changed;
    const others = this.#others;
    const entries: TurnEntryBody[] = [];
    const whole = this.#whole;
    if (whole) {
      entries.push({ type: 'parts', parts: whole.map(boundedPart) });
      this.#told = new Map(whole.map((part) => [part.id, part]));
    }
    for (const { part, rewritten } of changed.values()) {
      const entry = entryFor(this.#told.get(part.id), part, rewritten);
      if (entry) entries.push(entry);
    }
    entries.push(...others);
    this.#changed = new Map();
    this.#others = [];
    this.#whole = undefined;
    const confirm = () => {
      for (const { part } of changed.values()) this.#told.set(part.id, part);
    };
    return { entries, confirm };
  }

  /** After a failed append: `told` is what followers hold after all, `current` what is now. */
  rebase(told: readonly Part[], current: readonly Part[]): void {
    this.#told = new Map(told.map((part) => [part.id, part]));
    const stillTrue = told.every(({ id }, at) => current[at]?.id === id);
    if (!stillTrue) this.reset(current);
    else for (const part of current) this.change(part, true);
  }
}

function entryFor(told: Part | undefined, part: Part, rewritten: boolean): TurnEntryBody | undefined {
  if (told && told.type !== 'tool' && part.type === told.type) {
    const continues = part.text.length >= told.text.length && (!rewritten || part.text.startsWith(told.text));
    if (continues) {
      const delta = part.text.slice(told.text.length);
      return delta === '' ? undefined : { type: 'text', partId: part.id, offset: told.text.length, delta };
    }
  }
  if (told === part) return undefined;
  return { type: 'part', part: boundedPart(part) };
}
