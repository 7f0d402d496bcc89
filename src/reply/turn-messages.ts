import type { WireMessageInfo, WirePart } from './wire.ts';

/**
 * What an upstream message is to a turn. `answer`: its parts are the reply. `summary`: written by a compaction
 * that upstream started within the turn; no reply, but the turn's cost. `other`: none of ours.
 */
export type MessageKind = 'answer' | 'summary' | 'other';

/** Who wrote a user message. Upstream writes two kinds itself: to compact, and to go on afterwards. */
export type Author = 'person' | 'auto-compaction' | 'manual-compaction' | 'continuation';

/** What is known of one message: its info may come after its parts. */
interface Known {
  role?: WireMessageInfo['role'];
  parentId?: string | undefined;
  /** Unix ms by the server. */
  createdAt: number;
  isSummary: boolean;
  author?: Author;
  decided?: MessageKind;
}

export const isSummary = (info: WireMessageInfo): boolean =>
  info.summary === true || info.mode === 'compaction';

/** Undefined while there is no part to tell it by. A `compaction` part, or synthetic texts only: no person. */
export function authorOf(parts: readonly WirePart[]): Author | undefined {
  if (parts.length === 0) return undefined;
  if (parts.some((part) => part.type !== 'compaction' && part.synthetic !== true)) return 'person';
  const compaction = parts.find(({ type }) => type === 'compaction');
  if (!compaction) return 'continuation';
  return compaction.auto === true ? 'auto-compaction' : 'manual-compaction';
}

/**
 * Which upstream messages belong to a turn, learnt from events in any order and any number of times. An
 * assistant message belongs when it answers our prompt, or a user message that upstream wrote itself before the
 * next person did. Its parts may come first: then nobody knows yet (undefined), and they have to wait.
 */
export class TurnMessages {
  readonly #promptMessageId: string | undefined;
  readonly #known = new Map<string, Known>();
  #nextPersonAt = Number.POSITIVE_INFINITY;
  #promptText: unknown;
  /** Upstream compacts because its provider found the prompt too long, and will replay it. */
  #overflowed = false;
  #replayId: string | undefined;

  /** Without a prompt message: a sub-agent's session, in which every assistant message belongs. */
  constructor(promptMessageId?: string) {
    this.#promptMessageId = promptMessageId;
  }

  kind(messageId: string): MessageKind | undefined {
    const known = this.#known.get(messageId);
    if (known?.decided) return known.decided;
    if (messageId === this.#promptMessageId || known?.role === 'user') return 'other';
    if (known?.role === undefined) return undefined;
    if (this.#promptMessageId === undefined) return known.isSummary ? 'summary' : 'answer';
    if (known.parentId === this.#promptMessageId) return known.isSummary ? 'other' : 'answer';
    return this.#kindByParent(known);
  }

  learn(info: WireMessageInfo): void {
    const known = this.#entry(info.id);
    known.role = info.role;
    known.parentId = info.parentID;
    known.createdAt = info.time.created;
    known.isSummary = isSummary(info);
    this.#noteNextPerson(info.id, known);
  }

  /** User messages are told apart by their parts. Returns what its message is, as far as anybody knows. */
  learnPart(part: WirePart): MessageKind | undefined {
    const known = this.#entry(part.messageID);
    if (known.role !== 'assistant' && known.author !== 'person') {
      this.#notePrompt(part);
      const author = this.#isReplay(part) ? 'continuation' : authorOf([part]);
      if (author && (author === 'person' || known.author === undefined)) known.author = author;
      this.#noteNextPerson(part.messageID, known);
    }
    return this.kind(part.messageID);
  }

  /** Not written by upstream itself: in a sub-agent's session, by its parent. */
  isPersons(messageId: string): boolean {
    const known = this.#known.get(messageId);
    return known?.role !== 'assistant' && known?.author === 'person';
  }

  /** The message list has told, which knows better than parents and times. */
  decide(messageId: string, kind: MessageKind): void {
    this.#entry(messageId).decided = kind;
  }

  forget(messageId: string): void {
    this.#known.delete(messageId);
  }

  #notePrompt(part: WirePart): void {
    if (part.messageID === this.#promptMessageId && part.type === 'text' && part.synthetic !== true)
      this.#promptText ??= part.text;
    if (part.type === 'compaction' && part.overflow === true) this.#overflowed = true;
  }

  /** Upstream's copy of the prompt after an overflow, which looks like a message that a person wrote. */
  #isReplay({ messageID, type, text }: WirePart): boolean {
    if (messageID === this.#replayId) return true;
    if (messageID === this.#promptMessageId || type !== 'text' || this.#promptText === undefined)
      return false;
    if (!this.#overflowed || text !== this.#promptText) return false;
    this.#overflowed = false;
    this.#replayId = messageID;
    return true;
  }

  #entry(messageId: string): Known {
    let known = this.#known.get(messageId);
    if (!known) {
      known = { createdAt: Number.NaN, isSummary: false };
      this.#known.set(messageId, known);
    }
    return known;
  }

  #kindByParent({ parentId, isSummary }: Known): MessageKind | undefined {
    const parent = this.#known.get(parentId ?? '');
    if (parent?.role === undefined || parent.author === undefined) return undefined;
    const promptAt = this.#known.get(this.#promptMessageId ?? '')?.createdAt ?? Number.NaN;
    if (parent.author === 'person' || parent.createdAt > this.#nextPersonAt) return 'other';
    if (parent.createdAt < promptAt) return 'other';
    if (!isSummary) return 'answer';
    return parent.author === 'auto-compaction' ? 'summary' : 'other';
  }

  /** A message that a person wrote after our prompt ends the turn's share of the session. */
  #noteNextPerson(messageId: string, { role, author, createdAt }: Known): void {
    if (role !== 'user' || author !== 'person' || messageId === this.#promptMessageId) return;
    const promptAt = this.#known.get(this.#promptMessageId ?? '')?.createdAt ?? Number.NaN;
    if (createdAt > promptAt) this.#nextPersonAt = Math.min(this.#nextPersonAt, createdAt);
  }
}
