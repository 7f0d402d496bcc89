import type { OpenCodeEvent } from '../../reply/events.ts';
import type { Exchange } from '../../reply/exchange.ts';
import { exchangeError } from '../../reply/exchange-error.ts';
import { isExplained, upstreamFailure } from '../../turn/failure.ts';
import type { PromptIds } from '../../turn/phase.ts';
import type { TurnFailure } from '../../turn/stored-turn.ts';

/**
 * Which events of the session are this turn's. A stream may be late, and errors, idles and questions name no prompt;
 * but it keeps the server's order, so what it tells before it first names our prompt was left by an earlier turn. An
 * owner who comes later, or after a gap, cannot wait for that name: all that a new connection tells is taken.
 */
export class OwnEvents {
  readonly #ids: PromptIds;
  #ours: boolean;
  #error: TurnFailure | undefined;
  #disposed = false;

  /** `named`: the prompt may have been told before. */
  constructor(ids: PromptIds, named: boolean) {
    this.#ids = ids;
    this.#ours = named;
  }

  /** False for what was left by an earlier turn: that is a reason to look at most. */
  take(event: OpenCodeEvent): boolean {
    if (!this.#ours && namesPrompt(event, this.#ids.promptMessageId)) {
      this.#ours = true;
      this.#error = undefined;
    }
    this.#noteError(event);
    if (event.type === 'server.instance.disposed') this.#disposed = true;
    return this.#ours;
  }

  /**
   * Whether the directory's instance was disposed since this was asked last: that aborts all runs in it, and is the last
   * that its stream tells (OpenCode 1.18.33; also after a change of its configuration).
   */
  takeDisposed(): boolean {
    const disposed = this.#disposed;
    this.#disposed = false;
    return disposed;
  }

  /** The name may have been lost with the stream. */
  gap(): void {
    if (this.#ours) return;
    this.#ours = true;
    this.#error = undefined;
  }

  /**
   * What upstream may have ended the prompt with. No verdict: the server may tell an error twice, and the second time
   * when the next prompt is there already. A prompt that upstream has refused is never named (unknown agent:
   * accepted, an error, and no message): then any error counts.
   */
  errorOf(exchange: Exchange): TurnFailure | undefined {
    return this.#ours || exchange.userMessage === undefined ? this.#error : undefined;
  }

  #noteError(event: OpenCodeEvent): void {
    if (event.type !== 'session.error' && event.type !== 'session.status') return;
    if (event.properties.sessionID !== this.#ids.sessionId) return;
    if (event.type === 'session.error') this.#error = tellingMore(failureOf(event), this.#error);
    // It runs, so the error was not its end.
    else if (event.properties.status.type !== 'idle') this.#error = undefined;
  }
}

function namesPrompt(event: OpenCodeEvent, promptMessageId: string): boolean {
  switch (event.type) {
    case 'message.updated':
      return [event.properties.info.id, event.properties.info.parentID].includes(promptMessageId);
    case 'message.part.updated':
      return event.properties.part.messageID === promptMessageId;
    default:
      return false;
  }
}

/** An abort's error says nothing of its own: the message that was aborted has it, too. */
function failureOf(event: Extract<OpenCodeEvent, { type: 'session.error' }>): TurnFailure | undefined {
  const error = exchangeError(event.properties.error);
  return error && error.name !== 'MessageAbortedError' ? upstreamFailure(error) : undefined;
}

/** The server may tell an error twice, the second time as one of its own with a stack (1.18.33). */
function tellingMore(next: TurnFailure | undefined, known: TurnFailure | undefined): TurnFailure | undefined {
  if (next === undefined) return known;
  return known && isExplained(known) && !isExplained(next) ? known : next;
}

/** A sign that the model's run goes on. The echo of our own message and housekeeping after idle are none. */
export function isProgress(event: OpenCodeEvent, promptMessageId: string): boolean {
  switch (event.type) {
    case 'message.updated':
      return event.properties.info.role === 'assistant';
    case 'message.part.updated':
      return event.properties.part.messageID !== promptMessageId;
    case 'message.part.delta':
    case 'todo.updated':
    case 'question.asked':
    case 'permission.asked':
      return true;
    case 'session.status':
      return event.properties.status.type !== 'idle';
    default:
      return false;
  }
}

/** The server says idle in two events; either may get lost. A deleted session's run goes on and says nothing of it. */
export function mayBeTheEnd(event: OpenCodeEvent): boolean {
  if (event.type === 'session.status') return event.properties.status.type === 'idle';
  return ['session.idle', 'session.error', 'session.deleted'].includes(event.type);
}
