import { callKey } from './call-key.ts';
import type { ToolPart } from './part.ts';
import { sameValue } from './same-value.ts';
import type { Todo } from './todo.ts';

/**
 * The todos of a session and the tool part that shows them. Upstream tells a list twice, as `todo.updated` and
 * as the input of a `todowrite` call, in either order. The newest `todowrite` part shows a list that came beside
 * it until its own input says more; without such a part a stream-only one does.
 */
export class TodoList {
  readonly streamPartId: string;
  #todos: readonly Todo[] = [];
  /** The todowrite part that appeared last, as the wire tells it. */
  #newest: ToolPart | undefined;
  readonly #older = new Set<string>();
  /** `#newest` shows `#todos` in place of its own input. */
  #dressed = false;

  constructor(sessionId: string) {
    this.streamPartId = `todos-${sessionId}`;
  }

  get todos(): readonly Todo[] {
    return this.#todos;
  }

  /** A whole list from the stream. False when it is the known one. */
  replace(todos: readonly Todo[]): boolean {
    const changed = !sameValue(this.#todos, todos);
    this.#todos = todos;
    this.#dressed = this.#newest !== undefined;
    return changed;
  }

  /** The call (`callKey`) of the part that shows the list. */
  get call(): string | undefined {
    return this.#newest && callKey(this.#newest);
  }

  /** A todowrite part is new or changed. Returns the call that showed the list until now, when another will. */
  seen(part: ToolPart): string | undefined {
    const before = this.#newest;
    if (this.#older.has(part.id)) return undefined;
    this.#newest = part;
    if (before?.id === part.id) {
      if (!sameValue(before.input.todos, part.input.todos)) this.#dressed = false;
    } else {
      if (before) this.#older.add(before.id);
      this.#dressed = part.input.todos === undefined && this.#isAhead(before);
    }
    const { todos } = part.input;
    const valid = part.status === 'completed' && !this.#dressed && Array.isArray(todos);
    if (valid && !sameValue(todos, this.#todos)) this.#todos = todos;
    return before === undefined || before.id === part.id ? undefined : callKey(before);
  }

  dress(part: ToolPart): ToolPart {
    if (!this.#dressed || this.#newest?.id !== part.id || part.status === 'error') return part;
    return { ...part, input: { ...part.input, todos: this.#todos } };
  }

  /** The part that shows the list when no tool part does. */
  streamPart(): ToolPart | undefined {
    if (this.#newest) return undefined;
    return {
      id: this.streamPartId,
      messageId: '',
      source: 'stream',
      type: 'tool',
      tool: 'todowrite',
      callId: '',
      status: 'completed',
      input: { todos: this.#todos },
      metadata: {},
    };
  }

  /** The list came before the call that it belongs to. */
  #isAhead(before: ToolPart | undefined): boolean {
    return this.#todos.length > 0 && !sameValue(before?.input.todos, this.#todos);
  }
}
