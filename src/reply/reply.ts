import type { ErrorReporter } from '../instrumentation/error-reporter.ts';
import { AskingCalls } from './asking-calls.ts';
import type { ChildSession } from './child-session.ts';
import { ChildSessions } from './child-sessions.ts';
import type { KnownEvent, KnownEventType, OpenCodeEvent } from './events.ts';
import type { Exchange } from './exchange.ts';
import { OpenRequests, type OpenRequestsOptions } from './open-requests.ts';
import type { Part, ToolPart, Usage } from './part.ts';
import { isStreamOnly } from './part-source.ts';
import { RecentIds } from './recent-ids.ts';
import { type ReplyObserver, ReplyObservers } from './reply-observer.ts';
import { joinText } from './response-parser.ts';
import { SessionParts } from './session-parts.ts';
import { SessionState } from './session-state.ts';
import { parseTodos, type Todo } from './todo.ts';
import { TodoList } from './todo-list.ts';
import { isTerminal } from './tool-part.ts';
import { UsageCounter } from './usage.ts';
import type {
  WireError,
  WireMessageInfo,
  WirePart,
  WirePermission,
  WireQuestion,
  WireSessionStatus,
} from './wire.ts';

export interface ReplyOptions {
  readonly sessionId: string;
  /** Id of the user message that this reply answers. */
  readonly promptMessageId: string;
  readonly observers?: readonly ReplyObserver[];
  /** Told about observers that throw. */
  readonly reporter?: ErrorReporter;
  readonly requests?: OpenRequestsOptions;
}

export interface ReplyResult {
  readonly parts: readonly Part[];
  /** Texts joined by a blank line. */
  readonly fullText: string;
  readonly reasoningText: string;
  /** The terminal ones. */
  readonly toolParts: readonly ToolPart[];
}

/** How many event ids are remembered at least; a repetition farther away than that is not recognized. */
const rememberedEvents = 256;

type Handlers = {
  [T in KnownEventType]?: (properties: Extract<KnownEvent, { type: T }>['properties']) => void;
};

/**
 * The reply of one turn while it is written: events in, parts out.
 *
 * Is: the parts of the turn's own assistant messages in order of appearance, with usage, todos, open requests and
 * sub-agents. Does: tell observers of each change. Does not: I/O, time, decide when the turn ends. Applying an
 * event again (same `evt_` id) changes nothing.
 */
export class Reply {
  readonly requests: OpenRequests;
  readonly #sessionId: string;
  readonly #observers: ReplyObservers;
  readonly #own: SessionParts;
  readonly #children = new ChildSessions((sessionId) => this.#openChild(sessionId));
  readonly #usage = new UsageCounter();
  readonly #todos: TodoList;
  readonly #asking: AskingCalls;
  readonly #state: SessionState;
  readonly #seen = new RecentIds(rememberedEvents);

  constructor({ sessionId, promptMessageId, observers, reporter, requests: prompts }: ReplyOptions) {
    this.#sessionId = sessionId;
    this.#observers = new ReplyObservers(observers, reporter);
    this.#todos = new TodoList(sessionId);
    this.requests = new OpenRequests(prompts);
    this.#asking = new AskingCalls(this.requests, this.#observers);
    this.#state = new SessionState(this.#observers);
    this.#own = new SessionParts({
      promptMessageId,
      observers: this.#observers,
      hooks: {
        seen: (part) => this.#ownToolSeen(part),
        dress: (part) => this.#todos.dress(this.#asking.dress(part)),
      },
      stepFinished: (part) => this.#step(part),
      requestBegan: (requests) => this.#observers.tell('requestBegan', requests),
    });
  }

  observe(observer: ReplyObserver): void {
    this.#observers.add(observer);
  }

  /** Takes one event; those of other sessions and unknown ones change nothing. Never throws. */
  apply(event: OpenCodeEvent): void {
    if (event.type === 'unknown') return;
    const handler = this.#handlers[event.type] as ((properties: unknown) => void) | undefined;
    if (!handler || (event.id !== undefined && !this.#seen.add(event.id))) return;
    handler(event.properties);
  }

  result(): ReplyResult {
    const { parts } = this.#own.list;
    return {
      parts,
      fullText: joinText(parts, 'text'),
      reasoningText: joinText(parts, 'reasoning'),
      toolParts: parts.filter((part): part is ToolPart => part.type === 'tool' && isTerminal(part)),
    };
  }

  /** What upstream spent on this turn: its own steps, compactions within it, and sub-agents. */
  usage(): Usage {
    return this.#usage.total;
  }

  /** Requests to the model that have begun: of the turn itself, of compactions within it, and of sub-agents. */
  get modelRequests(): number {
    return this.#sessions().reduce((sum, { requests }) => sum + requests.count, 0);
  }

  get todos(): readonly Todo[] {
    return this.#todos.todos;
  }

  /** By session id. */
  childSessions(): ReadonlyMap<string, ChildSession> {
    return this.#children.all();
  }

  /** The last status of the own session that was seen; undefined before the first. */
  get status(): WireSessionStatus | undefined {
    return this.#state.status;
  }

  get busy(): boolean {
    return this.status !== undefined && this.status.type !== 'idle';
  }

  /** Idle was seen, and not busy since. No sign of success: read the exchange. */
  get idle(): boolean {
    return this.status?.type === 'idle';
  }

  /** The last `session.error` of the own session. */
  get lastError(): WireError | undefined {
    return this.#state.lastError;
  }

  /** Upstream has begun to answer. */
  get hasProgress(): boolean {
    return this.#own.answered || this.#own.list.size > 0;
  }

  /** The event stream broke; parts under way wait for their whole text from now on. */
  streamBroken(): void {
    for (const { list } of this.#sessions()) list.tear();
  }

  /** Takes over what an earlier owner of the turn had; nobody is told, except of sub-agents. */
  replaceParts(parts: readonly Part[]): void {
    this.#own.reset(parts);
  }

  /** Brings the reply to a polled exchange and tells only what is new or changed. Stream-only parts stay. */
  syncRecoveredParts(exchange: Exchange): void {
    this.#own.sync(exchange.messages, (id) => exchange.kindOf(id));
    for (const [sessionId, messages] of exchange.children) {
      this.#follow(sessionId);
      const said = this.#children.said(sessionId);
      said?.sync(messages, () => undefined);
      // What was lost of an earlier message stands in front of what was heard of a later one.
      const ids = messages.flatMap(({ parts }) => parts.map(({ id }) => id));
      said?.list.arrange(ids, () => true);
    }
    this.#own.list.arrange(
      exchange.parts.map(({ id }) => id),
      (part) => isStreamOnly(part) || !exchange.isFinalFor(part.messageId),
    );
  }

  readonly #handlers: Handlers = {
    'message.updated': ({ info }) => this.#message(info),
    'message.removed': ({ sessionID, messageID }) => this.#said(sessionID)?.removeMessage(messageID),
    'message.part.updated': ({ part }) => this.#said(part.sessionID)?.part(part),
    'message.part.delta': ({ sessionID, messageID, partID, field, delta }) => {
      if (field === 'text') this.#said(sessionID)?.delta(messageID, partID, delta);
    },
    'message.part.removed': ({ sessionID, partID }) => this.#said(sessionID)?.removePart(partID),
    'session.created': ({ info: { id, parentID } }) => {
      if (parentID !== undefined && this.#said(parentID)) this.#follow(id, { parentId: parentID });
    },
    'session.status': ({ sessionID, status }) => {
      if (sessionID === this.#sessionId) this.#state.statusSeen(status);
    },
    'session.idle': ({ sessionID }) => {
      if (sessionID === this.#sessionId) this.#state.statusSeen({ type: 'idle' });
    },
    'session.error': ({ sessionID, error }) => {
      if (sessionID === this.#sessionId) this.#state.errorSeen(error ?? undefined);
    },
    'todo.updated': ({ sessionID, todos }) => {
      if (sessionID === this.#sessionId) this.#todosSeen(parseTodos(todos));
    },
    'question.asked': (request) => {
      const said = this.#asked(request);
      const call = said && this.#asking.question(request);
      if (call !== undefined) said?.list.refresh(call);
    },
    'question.replied': ({ requestID }) => this.#asking.questionEnded(requestID, 'questionReplied'),
    'question.rejected': ({ requestID }) => this.#asking.questionEnded(requestID, 'questionRejected'),
    'permission.asked': (request) => {
      if (this.#asked(request)) this.#asking.permission(request);
    },
    'permission.replied': ({ requestID, reply }) => this.#asking.permissionEnded(requestID, reply),
  };

  /** Undefined for a session that is neither the turn's nor a sub-agent's. */
  #said(sessionId: string): SessionParts | undefined {
    return sessionId === this.#sessionId ? this.#own : this.#children.said(sessionId);
  }

  /** As `#said`, without what a message asks that answers somebody else's prompt in the turn's session. */
  #asked({ sessionID, tool }: WireQuestion | WirePermission): SessionParts | undefined {
    const said = this.#said(sessionID);
    return said === this.#own && tool && said.kind(tool.messageID) === 'other' ? undefined : said;
  }

  #sessions(): readonly SessionParts[] {
    return [this.#own, ...this.#children.sessions()];
  }

  #message(info: WireMessageInfo): void {
    const answers = this.#said(info.sessionID)?.message(info) ?? false;
    if (answers && info.sessionID === this.#sessionId) this.#observers.tell('messageUpdated', info);
  }

  #step(part: WirePart, child = false): void {
    const isLast = !child && part.reason !== 'tool-calls';
    if (this.#usage.add(part, child)) this.#observers.tell('stepFinished', this.usage(), isLast);
  }

  #todosSeen(todos: readonly Todo[]): void {
    if (this.#todos.replace(todos)) this.#observers.tell('todosChanged', todos);
    const { list } = this.#own;
    if (this.#todos.call !== undefined) list.refresh(this.#todos.call);
    const part = this.#todos.streamPart();
    if (part) list.put(part);
  }

  #ownToolSeen(part: ToolPart): void {
    this.#toolSeen(part, this.#sessionId);
    if (part.tool !== 'todowrite') return;
    const { todos } = this.#todos;
    const shown = this.#todos.seen(part);
    if (shown !== undefined) this.#own.list.refresh(shown);
    this.#own.list.remove(this.#todos.streamPartId);
    if (this.#todos.todos !== todos) this.#observers.tell('todosChanged', this.#todos.todos);
  }

  #toolSeen(part: ToolPart, sessionId: string): void {
    const child = part.metadata.sessionId;
    if (part.tool === 'task' && typeof child === 'string') {
      this.#follow(child, { parentId: sessionId, task: part });
    }
    this.#asking.seen(part);
  }

  #follow(sessionId: string, known: { parentId?: string; task?: ToolPart } = {}): void {
    const added = !this.#children.has(sessionId);
    this.#children.follow(sessionId, known);
    if (added) this.#observers.tell('childAdded', sessionId);
  }

  #openChild(sessionId: string): SessionParts {
    const tell = (part: Part) => {
      const child = this.#children.get(sessionId);
      if (child) this.#observers.tell('childPartChanged', child, part);
    };
    return new SessionParts({
      observers: new ReplyObservers([{ partAdded: tell, partChanged: tell, toolProgressed: tell }]),
      hooks: {
        seen: (part) => this.#toolSeen(part, sessionId),
        dress: (part) => this.#asking.dress(part),
      },
      stepFinished: (part) => this.#step(part, true),
      requestBegan: (requests) => this.#observers.tell('requestBegan', requests),
    });
  }
}
