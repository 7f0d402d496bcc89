import { ConflictError, NotFoundError } from '../errors.ts';
import type { ConversationSession, SessionStore } from '../ports/session-store.ts';
import type { Hold } from '../ports/turn-queue.ts';
import type { TurnConversation } from '../turn/conversation.ts';
import { type ConversationIdType, requireIdText } from '../turn/conversation-id.ts';
import type { SessionRef } from '../turn/stored-turn.ts';

interface Conversation {
  readonly document: Readonly<Record<string, unknown>>;
  session: SessionRef | undefined;
  hold?: Hold | undefined;
}

/** A host's conversations with their sessions: SessionStore, and what a turn store knows of them. */
export class MemoryConversations implements SessionStore {
  readonly collection = 'conversations';
  readonly #idType: ConversationIdType;
  readonly #all = new Map<string, Conversation>();

  constructor(idType: ConversationIdType = 'ObjectId') {
    this.#idType = idType;
  }

  /** Refuses what cannot be an id, as the stores on MongoDB do. */
  idOf(value: unknown): string {
    return requireIdText(this.#idType, value);
  }

  add(id: string, document: Readonly<Record<string, unknown>>): void {
    this.#all.set(this.idOf(id), { document, session: undefined });
  }

  remove(id: string): void {
    this.#all.delete(this.idOf(id));
  }

  has(id: string): boolean {
    return this.#all.has(this.idOf(id));
  }

  find(id: string): TurnConversation | null {
    const found = this.#all.get(this.idOf(id));
    if (!found) return null;
    const { document, session, hold } = found;
    return {
      id,
      title: titleOf(document),
      ...(session ? { session } : {}),
      ...(hold ? { held: true } : {}),
      document: { ...document },
    };
  }

  hold(conversationId: string): Hold | undefined {
    return this.#existing(conversationId).hold;
  }

  setHold(conversationId: string, hold: Hold | undefined): void {
    this.#existing(conversationId).hold = hold;
  }

  async session(conversationId: string): Promise<ConversationSession> {
    const { document, session } = this.#existing(conversationId);
    return {
      sessionId: session?.sessionId ?? null,
      server: session?.server ?? null,
      rules: session?.rules ?? null,
      directory: session?.directory ?? null,
      title: titleOf(document),
    };
  }

  async swap(conversationId: string, expected: string | null, next: SessionRef | null): Promise<boolean> {
    const conversation = this.#existing(conversationId);
    if ((conversation.session?.sessionId ?? null) !== expected) return false;
    for (const other of this.#all.values())
      if (next && other !== conversation && other.session?.sessionId === next.sessionId)
        throw new ConflictError('another conversation has this session', ['opencodeSessionId']);
    conversation.session = next ?? undefined;
    return true;
  }

  async noteRules(
    conversationId: string,
    seen: string | undefined,
    { sessionId, rules }: SessionRef,
  ): Promise<void> {
    const found = this.#holding(conversationId, sessionId);
    if (!found) return;
    const { rules: known, ...session } = found.session;
    const isNoted = known === seen && rules !== undefined;
    found.conversation.session = isNoted ? { ...session, rules } : session;
  }

  async noteDirectory(conversationId: string, { sessionId, directory }: SessionRef): Promise<void> {
    const found = this.#holding(conversationId, sessionId);
    if (found && directory !== undefined) found.conversation.session = { ...found.session, directory };
  }

  async stored(sessionIds: readonly string[]): Promise<ReadonlySet<string>> {
    const held = [...this.#all.values()].flatMap(({ session }) => session?.sessionId ?? []);
    return new Set(held.filter((id) => sessionIds.includes(id)));
  }

  #existing(conversationId: string): Conversation {
    const found = this.#all.get(this.idOf(conversationId));
    if (!found) throw new NotFoundError('conversation', conversationId);
    return found;
  }

  #holding(conversationId: string, sessionId: string) {
    const conversation = this.#all.get(this.idOf(conversationId));
    const session = conversation?.session;
    return conversation && session?.sessionId === sessionId ? { conversation, session } : undefined;
  }
}

const titleOf = ({ title }: Readonly<Record<string, unknown>>) => (typeof title === 'string' ? title : '');
