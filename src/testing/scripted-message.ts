import type { WireError, WireEvent, WireMessage, WireMessageInfo, WirePart } from '../reply/wire.ts';
import type { Clock } from '../timing/clock.ts';
import { stored } from './memory-ids.ts';

export interface MessageContext {
  readonly sessionId: string;
  readonly clock: Clock;
  readonly newPartId: () => string;
  readonly emit: (event: WireEvent) => void;
}

type Open = { -readonly [K in keyof WireMessageInfo]: WireMessageInfo[K] };

const noTokens = { input: 0, output: 0, reasoning: 0, cache: { read: 0, write: 0 } };

/** One step of a reply, as the server stores it and tells of it: each change is an event (recorded of OpenCode 1.18.33). */
export class ScriptedMessage {
  readonly info: Open;
  readonly #parts: WirePart[] = [];
  readonly #context: MessageContext;
  #writing:
    | { readonly id: string; readonly type: 'text' | 'reasoning'; text: string; readonly start: number }
    | undefined;
  cost = 0;
  tokens = noTokens;

  constructor(context: MessageContext, id: string, parentID: string) {
    this.#context = context;
    this.info = {
      id,
      sessionID: context.sessionId,
      role: 'assistant',
      parentID,
      mode: 'build',
      cost: 0,
      tokens: noTokens,
      time: { created: context.clock.now() },
    };
    this.#tellInfo();
    this.#put({ id: context.newPartId(), type: 'step-start' });
  }

  get wire(): WireMessage {
    return stored({ info: this.info, parts: this.#parts });
  }

  get tools(): readonly WirePart[] {
    return this.#parts.filter(({ type }) => type === 'tool');
  }

  write(type: 'text' | 'reasoning', delta: string): void {
    if (this.#writing?.type !== type) {
      this.endText();
      const start = this.#context.clock.now();
      this.#writing = { id: this.#context.newPartId(), type, text: '', start };
      this.#put({ id: this.#writing.id, type, text: '', time: { start } });
    }
    const { id } = this.#writing;
    this.#writing.text += delta;
    const { sessionId: sessionID } = this.#context;
    const properties = { sessionID, messageID: this.info.id, partID: id, field: 'text', delta };
    this.#context.emit({ type: 'message.part.delta', properties });
    this.#replace({ id, type, text: this.#writing.text, time: { start: this.#writing.start } });
  }

  /** A text is whole: only now the server tells all of it. */
  endText(): void {
    if (!this.#writing) return;
    const { id, type, text, start } = this.#writing;
    this.#writing = undefined;
    this.#put({ id, type, text, time: { start, end: this.#context.clock.now() } });
  }

  tool(id: string, callID: string, tool: string, state: Readonly<Record<string, unknown>>): void {
    this.endText();
    this.#put({ id, type: 'tool', tool, callID, state });
  }

  /** The step is over. */
  end(finish: 'stop' | 'tool-calls'): void {
    this.endText();
    const { cost, tokens } = this;
    this.#put({ id: this.#context.newPartId(), type: 'step-finish', reason: finish, cost, tokens });
    this.#close({ finish });
  }

  fail(error: WireError): void {
    this.endText();
    this.#close({ error });
  }

  #close(end: Pick<WireMessageInfo, 'finish' | 'error'>): void {
    const { cost, tokens } = this;
    const time = { ...this.info.time, completed: this.#context.clock.now() };
    Object.assign(this.info, { ...end, cost, tokens, time });
    this.#tellInfo();
  }

  #put(part: Readonly<Record<string, unknown>> & { readonly id: string; readonly type: string }): void {
    const whole = this.#replace(part);
    const properties = { sessionID: whole.sessionID, part: stored(whole), time: this.#context.clock.now() };
    this.#context.emit({ type: 'message.part.updated', properties });
  }

  #replace(
    part: Readonly<Record<string, unknown>> & { readonly id: string; readonly type: string },
  ): WirePart {
    const whole = { ...part, sessionID: this.#context.sessionId, messageID: this.info.id };
    const at = this.#parts.findIndex(({ id }) => id === part.id);
    if (at < 0) this.#parts.push(whole);
    else this.#parts[at] = whole;
    return whole;
  }

  #tellInfo(): void {
    const { sessionId: sessionID, emit } = this.#context;
    emit({ type: 'message.updated', properties: { sessionID, info: stored(this.info) } });
  }
}
