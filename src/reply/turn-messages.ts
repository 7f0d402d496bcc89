import type { WireMessageInfo, WirePart } from './wire.ts';

/**
 * What an upstream message is to a turn. `answer`: its parts are the reply. `summary`: written by a compaction
 * that upstream started within the turn; no reply, but the turn's cost. `other`: none of ours.
 */
export type MessageKind = 'answer' | 'summary' | 'other';

/** Who wrote a user message. Upstream writes two kinds itself: to compact, and to go on afterwards. */
type Author = 'person' | 'auto-compaction' | 'manual-compaction' | 'continuation';

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
  readonly #infos = new Map<string, WireMessageInfo>();
  readonly #authors = new Map<string, Author>();
  readonly #decided = new Map<string, MessageKind>();
  #nextPersonAt = Number.POSITIVE_INFINITY;

  /** Without a prompt message: a sub-agent's session, in which every assistant message belongs. */
  constructor(promptMessageId?: string) {
    this.#promptMessageId = promptMessageId;
  }

  kind(messageId: string): MessageKind | undefined {
    const decided = this.#decided.get(messageId);
    if (decided) return decided;
    const info = this.#infos.get(messageId);
    if (messageId === this.#promptMessageId || info?.role === 'user') return 'other';
    if (!info) return undefined;
    if (this.#promptMessageId === undefined) return isSummary(info) ? 'summary' : 'answer';
    if (info.parentID === this.#promptMessageId) return isSummary(info) ? 'other' : 'answer';
    return this.#kindByParent(info);
  }

  learn(info: WireMessageInfo): void {
    this.#infos.set(info.id, info);
    this.#learnAuthor(info.id, this.#authors.get(info.id));
  }

  /** User messages are told apart by their parts. */
  learnPart(part: WirePart): void {
    if (this.#infos.get(part.messageID)?.role === 'assistant') return;
    const author = authorOf([part]);
    const known = this.#authors.get(part.messageID);
    if (known === undefined || author === 'person') this.#learnAuthor(part.messageID, author);
  }

  /** The message list has told, which knows better than parents and times. */
  decide(messageId: string, kind: MessageKind): void {
    this.#decided.set(messageId, kind);
  }

  forget(messageId: string): void {
    this.#infos.delete(messageId);
    this.#authors.delete(messageId);
    this.#decided.delete(messageId);
  }

  #kindByParent(info: WireMessageInfo): MessageKind | undefined {
    const parent = this.#infos.get(info.parentID ?? '');
    const author = this.#authors.get(info.parentID ?? '');
    if (!parent || author === undefined) return undefined;
    const prompt = this.#infos.get(this.#promptMessageId ?? '');
    const { created } = parent.time;
    if (author === 'person' || created > this.#nextPersonAt) return 'other';
    if (prompt && created < prompt.time.created) return 'other';
    if (!isSummary(info)) return 'answer';
    return author === 'auto-compaction' ? 'summary' : 'other';
  }

  /** A message that a person wrote after our prompt ends the turn's share of the session. */
  #learnAuthor(messageId: string, author: Author | undefined): void {
    if (author === undefined) return;
    this.#authors.set(messageId, author);
    const info = this.#infos.get(messageId);
    const prompt = this.#infos.get(this.#promptMessageId ?? '');
    if (author !== 'person' || info?.role !== 'user' || !prompt || messageId === prompt.id) return;
    if (info.time.created > prompt.time.created) {
      this.#nextPersonAt = Math.min(this.#nextPersonAt, info.time.created);
    }
  }
}
