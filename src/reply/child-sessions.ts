import type { Part, ToolPart } from './part.ts';
import type { SessionParts } from './session-parts.ts';

/** A sub-agent's session. `callId` and `partId` name the task part that started it, once that is known. */
export interface ChildSession {
  readonly sessionId: string;
  /** The session that started it: the turn's own, or another child. */
  readonly parentId: string | undefined;
  readonly callId: string | undefined;
  readonly partId: string | undefined;
  readonly parts: readonly Part[];
}

interface Followed {
  parentId: string | undefined;
  task: ToolPart | undefined;
  readonly said: SessionParts;
}

/** The sub-agents of a turn, at any depth: by the session that upstream created, and by the task part that names it. */
export class ChildSessions {
  readonly #followed = new Map<string, Followed>();
  readonly #open: (sessionId: string) => SessionParts;

  constructor(open: (sessionId: string) => SessionParts) {
    this.#open = open;
  }

  has(sessionId: string): boolean {
    return this.#followed.has(sessionId);
  }

  said(sessionId: string): SessionParts | undefined {
    return this.#followed.get(sessionId)?.said;
  }

  follow(sessionId: string, known: { parentId?: string; task?: ToolPart } = {}): void {
    const followed = this.#followed.get(sessionId);
    if (!followed) {
      const { parentId, task } = known;
      this.#followed.set(sessionId, { parentId, task, said: this.#open(sessionId) });
      return;
    }
    followed.parentId ??= known.parentId;
    followed.task ??= known.task;
  }

  get(sessionId: string): ChildSession | undefined {
    const followed = this.#followed.get(sessionId);
    if (!followed) return undefined;
    const { parentId, task, said } = followed;
    return { sessionId, parentId, callId: task?.callId, partId: task?.id, parts: said.list.parts };
  }

  all(): ReadonlyMap<string, ChildSession> {
    return new Map(
      [...this.#followed.keys()].flatMap((id) => {
        const child = this.get(id);
        return child ? [[id, child] as const] : [];
      }),
    );
  }
}
