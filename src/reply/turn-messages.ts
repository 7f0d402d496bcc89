import type { WireMessageInfo, WirePart } from './wire.ts';

/**
 * Which upstream messages belong to a turn, learnt from events in any order. An assistant message belongs when
 * it answers our prompt, or a message that upstream wrote itself to go on after a compaction; summaries do not.
 */
export class TurnMessages {
  readonly #promptMessageId: string;
  readonly #owned = new Map<string, boolean>();
  /** User messages that came after our prompt, until a part shows that a person wrote them. */
  readonly #continuations = new Set<string>();
  readonly #fromPeople = new Set<string>();

  constructor(promptMessageId: string) {
    this.#promptMessageId = promptMessageId;
  }

  /** Undefined while nobody knows. */
  owns(messageId: string): boolean | undefined {
    if (messageId === this.#promptMessageId) return false;
    return this.#owned.get(messageId);
  }

  adopt(messageId: string): void {
    this.#owned.set(messageId, true);
  }

  learn(info: WireMessageInfo): void {
    if (info.role === 'user') {
      this.#owned.set(info.id, false);
      if (info.id !== this.#promptMessageId && !this.#fromPeople.has(info.id))
        this.#continuations.add(info.id);
      return;
    }
    const summary = info.summary === true || info.mode === 'compaction';
    const { parentID } = info;
    const answers =
      parentID === this.#promptMessageId || (parentID !== undefined && this.#continuations.has(parentID));
    this.#owned.set(info.id, !summary && answers);
  }

  learnPart(part: WirePart): void {
    if (part.type === 'compaction' || part.synthetic === true || this.#owned.get(part.messageID) !== false)
      return;
    this.#fromPeople.add(part.messageID);
    this.#continuations.delete(part.messageID);
  }
}
