import { type ExchangeError, exchangeError } from './exchange-error.ts';
import type { Part, ToolPart, Usage } from './part.ts';
import { joinText, parsePart } from './response-parser.ts';
import { type ToolFile, toolFiles } from './tool-files.ts';
import { isTerminal } from './tool-part.ts';
import type { MessageKind } from './turn-messages.ts';
import { shareOf, type TurnShare } from './turn-share.ts';
import { UsageCounter } from './usage.ts';
import type { WireMessage } from './wire.ts';

export interface ExchangeOptions {
  /** Whole message lists of sub-agent sessions, by session id. */
  readonly children?: ReadonlyMap<string, readonly WireMessage[]>;
}

/**
 * The upstream messages of one turn, found by the id of its prompt message: the prompt, and every assistant message
 * that hangs below it (`shareOf`). What answers a message that somebody else has written in the same session is not the
 * turn's. A compaction's summary is left out, what follows belongs. Pure.
 */
export class Exchange {
  /** The whole list it was made of. */
  readonly messages: readonly WireMessage[];
  /** In order; without compaction summaries and without runs that the server lost and a later message replaced. */
  readonly assistants: readonly WireMessage[];
  /** What sub-agents did in this turn; one that was resumed has older messages, which are left out. */
  readonly children: ReadonlyMap<string, readonly WireMessage[]>;
  readonly #share: TurnShare;
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
    this.#share = shareOf(messages, promptMessageId);
    const { answers, summaries, foreign, foreignAnswers } = this.#share;
    this.assistants = living(this.#share);
    this.#kinds = new Map([
      ...kinds(before(messages, promptMessageId), 'other'),
      ...kinds(answers, 'other'),
      ...kinds(foreign, 'other'),
      ...kinds(foreignAnswers, 'other'),
      ...kinds(this.assistants, 'answer'),
      ...kinds(summaries, 'summary'),
    ]);
    // Upstream rewrites the prompt's own time when the same message is posted again; an answer's time stays.
    const since = answers[0]?.info.time.created ?? Number.POSITIVE_INFINITY;
    this.children = new Map(
      [...children].map(([id, list]) => [id, list.filter(({ info }) => info.time.created >= since)]),
    );
  }

  get userMessage(): WireMessage | undefined {
    return this.#share.userMessage;
  }

  /** Messages that somebody else has prompted the session with since. */
  get foreign(): readonly WireMessage[] {
    return this.#share.foreign;
  }

  /**
   * Somebody else's message came when the turn had a step to go on with: upstream goes on with that message alone, and
   * the turn gets no last word (1.18.33).
   */
  get overtaken(): boolean {
    const { last, foreign } = this.#share;
    const at = this.messages.indexOf(last as WireMessage);
    return this.finish === 'tool-calls' && foreign.some((message) => this.messages.indexOf(message) > at);
  }

  /**
   * When upstream began with the turn: Unix ms by the server's clock, which is that of the files its tools write.
   * The prompt's own time is rewritten when the message is posted again, so the first answer's may be the earlier.
   */
  get startedAt(): number | undefined {
    const times = [this.userMessage, this.#share.answers[0]].flatMap(
      (message) => message?.info.time.created ?? [],
    );
    return times.length > 0 ? Math.min(...times) : undefined;
  }

  /**
   * An answer has begun since the prompt was posted last. Upstream rewrites the prompt's time when it is posted
   * again, so the answer of a run that was lost before does not count.
   */
  get begun(): boolean {
    const posted = this.userMessage?.info.time.created ?? Number.POSITIVE_INFINITY;
    return this.#share.answers.some(({ info }) => info.time.created >= posted);
  }

  get lastAssistant(): WireMessage | undefined {
    return this.assistants.at(-1);
  }

  /** No answer yet, or one that is not complete; or upstream is in the middle of a compaction that it asked itself for. */
  get inProgress(): boolean {
    return this.lastAssistant?.info.time.completed === undefined || this.#compacting;
  }

  get #compacting(): boolean {
    const info = this.#share.last?.info;
    if (!info || info.id === this.lastAssistant?.info.id) return false;
    if (info.role === 'user' || info.time.completed === undefined) return true;
    // A summary. It is the end when it failed, or when there was nothing left to go on with.
    return info.error === undefined && (this.finish === undefined || this.finish === 'tool-calls');
  }

  get finish(): string | undefined {
    return this.lastAssistant?.info.finish;
  }

  /** Of the last message, a failed compaction's included. */
  get error(): ExchangeError | undefined {
    return exchangeError(this.#share.last?.info.error ?? this.lastAssistant?.info.error);
  }

  /** What upstream spent on the turn: its assistant messages, compactions it started itself, and sub-agents. */
  get usage(): Usage {
    const counter = new UsageCounter();
    for (const { parts } of [...this.#share.answers, ...this.#share.summaries]) {
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

function before(messages: readonly WireMessage[], promptMessageId: string): readonly WireMessage[] {
  return messages.slice(0, messages.findIndex(({ info }) => info.id === promptMessageId) + 1);
}

/**
 * A run that the server lost stays incomplete for ever, one that it aborted for a reason of its own stays aborted; once
 * a later message exists, that is no part of the answer.
 */
function living({ answers, userMessage }: TurnShare): WireMessage[] {
  const postedAt = userMessage?.info.time.created ?? 0;
  return answers.filter(({ info }, at) => {
    if (at === answers.length - 1) return true;
    const { completed } = info.time;
    if (completed === undefined) return false;
    return info.error?.name !== 'MessageAbortedError' || completed > postedAt;
  });
}
