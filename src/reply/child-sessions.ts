import type { ChildSession } from './child-session.ts';
import type { ToolPart } from './part.ts';
import type { SessionParts } from './session-parts.ts';

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

  sessions(): readonly SessionParts[] {
    return Array.from(this.#followed.values(), ({ said }) => said);
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
