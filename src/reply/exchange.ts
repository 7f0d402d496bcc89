import type { Part, ToolPart, Usage } from './part.ts';
import { joinText, parsePart } from './response-parser.ts';
import { type ToolFile, toolFiles } from './tool-files.ts';
import { isTerminal } from './tool-part.ts';
import { authorOf, isSummary, type MessageKind } from './turn-messages.ts';
import { UsageCounter } from './usage.ts';
import type { WireMessage } from './wire.ts';

export interface ExchangeError {
  readonly name: string;
  readonly message: string;
  readonly statusCode?: number;
  readonly retryable: boolean;
}

export interface ExchangeOptions {
  /** Whole message lists of sub-agent sessions, by session id. */
  readonly children?: ReadonlyMap<string, readonly WireMessage[]>;
}

/**
 * The upstream messages of one turn, found by the id of its prompt message and never by text: the prompt, and
 * every assistant message behind it up to the next message that a person wrote. Compaction puts a summary and a
 * synthetic user message in between; the summary is left out, what follows belongs. Pure.
 */
export class Exchange {
  /** The whole list it was made of. */
  readonly messages: readonly WireMessage[];
  readonly userMessage: WireMessage | undefined;
  /** In order; without compaction summaries and without runs that the server lost and a later message replaced. */
  readonly assistants: readonly WireMessage[];
  /** What sub-agents did in this turn; one that was resumed has older messages, which are left out. */
  readonly children: ReadonlyMap<string, readonly WireMessage[]>;
  readonly #answers: readonly WireMessage[];
  readonly #summaries: readonly WireMessage[];
  readonly #kinds: ReadonlyMap<string, MessageKind>;
  #parts: readonly Part[] | undefined;

  static from(
    messages: readonly WireMessage[],
    promptMessageId: string,
    options: ExchangeOptions = {},
  ): Exchange {
    return new Exchange(messages, promptMessageId, options.children ?? new Map());
  }

  private constructor(
    messages: readonly WireMessage[],
    promptMessageId: string,
    children: ReadonlyMap<string, readonly WireMessage[]>,
  ) {
    this.messages = messages;
    const start = messages.findIndex(({ info }) => info.id === promptMessageId);
    this.userMessage = messages[start];
    const { answers, summaries } = writtenAfter(start < 0 ? [] : messages.slice(start + 1));
    this.#answers = answers;
    this.#summaries = summaries;
    this.assistants = living(answers);
    this.#kinds = new Map([
      ...kinds(messages.slice(0, start + 1), 'other'),
      ...kinds(answers, 'other'),
      ...kinds(this.assistants, 'answer'),
      ...kinds(summaries, 'summary'),
    ]);
    // Upstream rewrites the prompt's own time when the same message is posted again; an answer's time stays.
    const since = answers[0]?.info.time.created ?? Number.POSITIVE_INFINITY;
    this.children = new Map(
      [...children].map(([id, list]) => [id, list.filter(({ info }) => info.time.created >= since)]),
    );
  }

  /**
   * When upstream began with the turn: Unix ms by the server's clock, which is that of the files its tools write.
   * The prompt's own time is rewritten when the message is posted again, so the first answer's may be the earlier.
   */
  get startedAt(): number | undefined {
    const times = [this.userMessage, this.#answers[0]].flatMap((message) => message?.info.time.created ?? []);
    return times.length > 0 ? Math.min(...times) : undefined;
  }

  /**
   * An answer has begun since the prompt was posted last. Upstream rewrites the prompt's time when it is posted
   * again, so the answer of a run that was lost before does not count.
   */
  get begun(): boolean {
    const posted = this.userMessage?.info.time.created ?? Number.POSITIVE_INFINITY;
    return this.#answers.some(({ info }) => info.time.created >= posted);
  }

  get lastAssistant(): WireMessage | undefined {
    return this.assistants.at(-1);
  }

  /** No answer yet, or one that is not complete. */
  get inProgress(): boolean {
    return this.lastAssistant?.info.time.completed === undefined;
  }

  get finish(): string | undefined {
    return this.lastAssistant?.info.finish;
  }

  get error(): ExchangeError | undefined {
    const error = this.lastAssistant?.info.error;
    if (!error) return undefined;
    const { message, statusCode, isRetryable } = error.data ?? {};
    return {
      name: error.name,
      message: message ?? error.name,
      retryable: isRetryable === true,
      ...(statusCode === undefined ? {} : { statusCode }),
    };
  }

  /** What upstream spent on the turn: its assistant messages, compactions it started itself, and sub-agents. */
  get usage(): Usage {
    const counter = new UsageCounter();
    for (const { parts } of [...this.#answers, ...this.#summaries]) {
      for (const part of parts) counter.add(part);
    }
    for (const messages of this.children.values()) {
      for (const { parts } of messages) for (const part of parts) counter.add(part, true);
    }
    return counter.total;
  }

  get parts(): readonly Part[] {
    this.#parts ??= partsOf(this.assistants);
    return this.#parts;
  }

  get text(): string {
    return joinText(this.parts, 'text');
  }

  get reasoningText(): string {
    return joinText(this.parts, 'reasoning');
  }

  /** The terminal ones. */
  get toolParts(): readonly ToolPart[] {
    return terminalTools(this.parts);
  }

  /**
   * Files that completed tools wrote, changed, renamed or deleted, those of sub-agents included, at the place of
   * the call that started them; the last change of a file wins.
   */
  toolArtifacts(options: { exclude?: ReadonlySet<string> } = {}): readonly ToolFile[] {
    return toolFiles(withChildren(this.toolParts, new Map(this.children)), options.exclude);
  }

  /** Undefined for messages that the list does not have, or does not decide about yet. */
  kindOf(messageId: string): MessageKind | undefined {
    return this.#kinds.get(messageId);
  }

  /** True when a part of this message that is not in `parts` is no part of the answer: it is not merely newer. */
  isFinalFor(messageId: string): boolean {
    const kind = this.kindOf(messageId);
    if (kind === undefined) return !(this.inProgress || this.finish === 'tool-calls');
    return kind !== 'answer' || messageId !== this.lastAssistant?.info.id || !this.inProgress;
  }
}

/** Each child once: what a sub-agent did when it was resumed stands with its first call. */
function withChildren(
  parts: readonly ToolPart[],
  left: Map<string, readonly WireMessage[]>,
): readonly ToolPart[] {
  return parts.flatMap((part) => {
    const { sessionId } = part.metadata;
    const messages = typeof sessionId === 'string' ? left.get(sessionId) : undefined;
    if (messages === undefined) return [part];
    left.delete(sessionId as string);
    return [...withChildren(terminalTools(partsOf(messages)), left), part];
  });
}

const partsOf = (messages: readonly WireMessage[]): readonly Part[] =>
  messages.flatMap(({ info, parts }) =>
    info.role === 'assistant' ? parts.flatMap((part) => parsePart(part) ?? []) : [],
  );

const terminalTools = (parts: readonly Part[]): readonly ToolPart[] =>
  parts.filter((part): part is ToolPart => part.type === 'tool' && isTerminal(part));

function kinds(messages: readonly WireMessage[], kind: MessageKind): [string, MessageKind][] {
  return messages.map(({ info }) => [info.id, kind]);
}

function writtenAfter(messages: readonly WireMessage[]): {
  answers: WireMessage[];
  summaries: WireMessage[];
} {
  const answers: WireMessage[] = [];
  const summaries: WireMessage[] = [];
  let author: ReturnType<typeof authorOf>;
  for (const message of messages) {
    if (message.info.role === 'user') {
      author = authorOf(message.parts);
      // Without a part nobody knows who wrote it: what answers it is not claimed.
      if (author === 'person' || author === undefined) break;
    } else if (!isSummary(message.info)) answers.push(message);
    else if (author === 'auto-compaction') summaries.push(message);
  }
  return { answers, summaries };
}

/** A run that the server lost stays incomplete for ever; once a later message exists, it is no part of the answer. */
function living(answers: readonly WireMessage[]): WireMessage[] {
  return answers.filter(({ info }, at) => info.time.completed !== undefined || at === answers.length - 1);
}
