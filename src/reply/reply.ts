import type { ErrorReporter } from '../instrumentation/error-reporter.ts';
import type { KnownEvent, KnownEventType, OpenCodeEvent } from './events.ts';
import type { Exchange } from './exchange.ts';
import type { Part, ToolPart, Usage } from './part.ts';
import { PartList } from './part-list.ts';
import { Prompts } from './prompts.ts';
import { type ReplyObserver, ReplyObservers } from './reply-observer.ts';
import { joinText } from './response-parser.ts';
import { parseTodos, type Todo } from './todo.ts';
import { isTerminal } from './tool-part.ts';
import { TurnMessages } from './turn-messages.ts';
import { UsageCounter } from './usage.ts';
import type { WireQuestion, WireSessionStatus } from './wire.ts';

export interface ReplyOptions {
  readonly sessionId: string;
  /** Id of the user message that this reply answers. */
  readonly promptMessageId: string;
  readonly reporter?: ErrorReporter;
}

export interface ReplyResult {
  readonly parts: readonly Part[];
  /** Texts joined by a blank line. */
  readonly fullText: string;
  readonly reasoningText: string;
  /** The terminal ones. */
  readonly toolParts: readonly ToolPart[];
}

/** Events kept back until it is known whose message they belong to. */
const maxHeldBack = 1_000;
const recentEvents = 4_096;

type Handlers = {
  [T in KnownEventType]: (
    properties: Extract<KnownEvent, { type: T }>['properties'],
    event: KnownEvent,
  ) => void;
};

/**
 * The reply of one turn while it is written: events in, parts out.
 *
 * Does: collect the parts of the turn's own assistant messages, follow sub-agents for cost and prompts, tell
 * observers. Does not: I/O, time, decide when the turn ends. Applying an event again changes nothing.
 */
export class Reply {
  readonly prompts = new Prompts();
  /** Last `session.status` of the own session; undefined before the first. */
  status: WireSessionStatus | undefined;
  readonly #sessionId: string;
  readonly #observers: ReplyObservers;
  readonly #list: PartList;
  readonly #messages: TurnMessages;
  readonly #usage = new UsageCounter();
  readonly #children = new Set<string>();
  readonly #questions = new Map<string, WireQuestion>();
  readonly #seen = new Set<string>();
  #heldBack: KnownEvent[] = [];
  #todos: readonly Todo[] = [];

  constructor({ sessionId, promptMessageId, reporter }: ReplyOptions) {
    this.#sessionId = sessionId;
    this.#observers = new ReplyObservers(reporter);
    this.#list = new PartList(this.#observers);
    this.#messages = new TurnMessages(promptMessageId);
    // Questions and todos may come before or after their tool part: whichever is second joins them.
    this.#observers.add({
      partAdded: (part) => this.#join(part),
      toolProgressed: (part) => this.#join(part),
    });
  }

  observe(observer: ReplyObserver): void {
    this.#observers.add(observer);
  }

  /** Takes one event; those of other sessions and unknown ones change nothing. Never throws. */
  apply(event: OpenCodeEvent): void {
    if (event.type === 'unknown' || this.#isRepeated(event.id)) return;
    const handler = this.#handlers[event.type] as (properties: unknown, event: KnownEvent) => void;
    handler(event.properties, event);
  }

  result(): ReplyResult {
    const { parts } = this.#list;
    return {
      parts,
      fullText: joinText(parts, 'text'),
      reasoningText: joinText(parts, 'reasoning'),
      toolParts: parts.filter((part): part is ToolPart => part.type === 'tool' && isTerminal(part)),
    };
  }

  usage(): Usage {
    return this.#usage.total;
  }

  get todos(): readonly Todo[] {
    return this.#todos;
  }

  /** Sub-agent sessions, each with the task part that started it, once that is known. */
  childSessions(): ReadonlyMap<string, ToolPart | undefined> {
    const task = (id: string) => this.#list.findTool((part) => part.metadata.sessionId === id);
    return new Map([...this.#children].map((id) => [id, task(id)]));
  }

  /** The event stream broke; parts under way wait for their whole text from now on. */
  streamBroken(): void {
    this.#list.tear();
  }

  /** Takes over what an earlier owner of the turn had; nobody is told. */
  replaceParts(parts: readonly Part[]): void {
    this.#list.reset(parts);
  }

  /** Brings the reply to a polled exchange and tells only what is new or changed. */
  syncRecoveredParts(exchange: Exchange): void {
    const { own, children } = exchange.wire;
    for (const { info, parts } of own) {
      this.#messages.adopt(info.id);
      const final = info.time.completed !== undefined;
      for (const part of parts) {
        if (this.#usage.add(part)) this.#observers.tell('stepFinished', this.usage());
        this.#list.update(part, final);
      }
    }
    for (const messages of children.values()) {
      for (const { parts } of messages) for (const part of parts) this.#usage.add(part, true);
    }
    this.#replay();
    if (!exchange.inProgress) this.#list.arrange(exchange.parts.map(({ id }) => id));
  }

  readonly #handlers: Handlers = {
    'message.updated': ({ info }) => {
      if (info.sessionID !== this.#sessionId) return;
      this.#messages.learn(info);
      this.#replay();
      if (this.#messages.owns(info.id) === true) this.#observers.tell('messageUpdated', info);
    },
    'message.removed': () => {},
    'message.part.updated': ({ part }, event) => {
      if (this.#children.has(part.sessionID) && this.#usage.add(part, true)) {
        this.#observers.tell('stepFinished', this.usage());
      }
      if (part.sessionID !== this.#sessionId) return;
      this.#messages.learnPart(part);
      const owned = this.#messages.owns(part.messageID);
      if (owned === undefined) this.#holdBack(event);
      if (!owned) return;
      if (this.#usage.add(part)) this.#observers.tell('stepFinished', this.usage());
      this.#list.update(part);
    },
    'message.part.delta': ({ sessionID, messageID, partID, field, delta }, event) => {
      if (sessionID !== this.#sessionId || field !== 'text') return;
      const owned = this.#messages.owns(messageID);
      if (owned === undefined) this.#holdBack(event);
      else if (owned) this.#list.grow(partID, messageID, delta);
    },
    'message.part.removed': ({ sessionID, partID }) => {
      if (sessionID === this.#sessionId) this.#list.remove(partID);
    },
    'session.created': ({ info }) => {
      if (info.parentID !== undefined && this.#follows(info.parentID)) this.#children.add(info.id);
    },
    'session.status': ({ sessionID, status }) => {
      if (sessionID !== this.#sessionId) return;
      const before = this.status;
      this.status = status;
      if (status.type !== 'retry') return;
      if (before?.type === 'retry' && before.attempt === status.attempt) return;
      const { attempt, message, next } = status;
      this.#observers.tell('sessionRetried', { attempt, message, nextAt: next });
    },
    'session.idle': ({ sessionID }) => {
      if (sessionID === this.#sessionId) this.status = { type: 'idle' };
    },
    'session.error': ({ sessionID, error }) => {
      if (sessionID === this.#sessionId) this.#observers.tell('sessionErrored', error);
    },
    'todo.updated': ({ sessionID, todos }) => {
      if (sessionID === this.#sessionId) this.#setTodos(parseTodos(todos));
    },
    'question.asked': (request) => {
      if (!this.#follows(request.sessionID)) return;
      if (request.tool) this.#questions.set(request.tool.callID, request);
      if (this.prompts.open({ kind: 'question', request })) this.#observers.tell('questionAsked', request);
      const part = this.#list.findTool(({ callId }) => callId === request.tool?.callID);
      if (part) this.#join(part);
    },
    'question.replied': ({ requestID }) => {
      if (this.prompts.close(requestID)) this.#observers.tell('questionReplied', requestID);
    },
    'question.rejected': ({ requestID }) => {
      if (this.prompts.close(requestID)) this.#observers.tell('questionRejected', requestID);
    },
    'permission.asked': (request) => {
      if (!this.#follows(request.sessionID)) return;
      if (this.prompts.open({ kind: 'permission', request }))
        this.#observers.tell('permissionAsked', request);
    },
    'permission.replied': ({ requestID, reply }) => {
      if (this.prompts.close(requestID)) this.#observers.tell('permissionReplied', requestID, reply);
    },
  };

  #follows(sessionId: string): boolean {
    return sessionId === this.#sessionId || this.#children.has(sessionId);
  }

  #isRepeated(eventId: string | undefined): boolean {
    if (eventId === undefined) return false;
    if (this.#seen.has(eventId)) return true;
    this.#seen.add(eventId);
    if (this.#seen.size > recentEvents) for (const oldest of this.#seen) return !this.#seen.delete(oldest);
    return false;
  }

  /** Part events may come before the message they belong to is known. The oldest are dropped first. */
  #holdBack(event: KnownEvent): void {
    this.#heldBack.push(event);
    if (this.#heldBack.length > maxHeldBack) this.#heldBack.shift();
  }

  #replay(): void {
    if (this.#heldBack.length === 0) return;
    const events = this.#heldBack;
    this.#heldBack = [];
    for (const event of events)
      (this.#handlers[event.type] as (p: unknown, e: KnownEvent) => void)(event.properties, event);
  }

  #setTodos(todos: readonly Todo[]): void {
    this.#todos = todos;
    this.#observers.tell('todosChanged', todos);
    const part = this.#list.findTool(({ tool }) => tool === 'todowrite');
    const refreshed = part && { ...part, input: { ...part.input, todos } };
    this.#list.replaceTool(
      refreshed ?? {
        id: `todos-${this.#sessionId}`,
        messageId: '',
        source: 'stream',
        type: 'tool',
        tool: 'todowrite',
        callId: '',
        status: 'completed',
        input: { todos },
        metadata: {},
      },
    );
  }

  #join(part: Part): void {
    if (part.type !== 'tool') return;
    if (typeof part.metadata.sessionId === 'string' && part.tool === 'task')
      this.#children.add(part.metadata.sessionId);
    if (part.tool === 'todowrite' && part.source === 'wire') this.#list.remove(`todos-${this.#sessionId}`);
    const question = this.#questions.get(part.callId);
    if (!question || part.metadata.requestId === question.id) return;
    const input = { ...part.input, questions: part.input.questions ?? question.questions };
    this.#list.replaceTool({ ...part, input, metadata: { ...part.metadata, requestId: question.id } });
  }
}
