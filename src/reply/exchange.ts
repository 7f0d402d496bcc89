import type { Part, ToolPart, Usage } from './part.ts';
import { joinText, parsePart } from './response-parser.ts';
import { type ToolFile, toolFiles } from './tool-files.ts';
import { isTerminal } from './tool-part.ts';
import { UsageCounter } from './usage.ts';
import type { WireMessage } from './wire.ts';

export interface ExchangeError {
  readonly name: string;
  readonly message: string;
  readonly statusCode?: number;
  readonly retryable: boolean;
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
  readonly #children: ReadonlyMap<string, readonly WireMessage[]>;
  #parts: readonly Part[] | undefined;

  static from(
    messages: readonly WireMessage[],
    promptMessageId: string,
    options: { children?: ReadonlyMap<string, readonly WireMessage[]> } = {},
  ): Exchange {
    return new Exchange(messages, promptMessageId, options.children ?? new Map());
  }

  private constructor(
    messages: readonly WireMessage[],
    promptMessageId: string,
    children: ReadonlyMap<string, readonly WireMessage[]>,
  ) {
    this.messages = messages;
    this.#children = children;
    const start = messages.findIndex(({ info }) => info.id === promptMessageId);
    this.userMessage = messages[start];
    this.assistants = start < 0 ? [] : living(answersOf(messages, start));
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

  /** Summed over the turn's assistant messages and those of its children. */
  get usage(): Usage {
    const counter = new UsageCounter();
    for (const { parts } of this.assistants) for (const part of parts) counter.add(part);
    for (const messages of this.#children.values()) {
      for (const { parts } of messages) for (const part of parts) counter.add(part, true);
    }
    return counter.total;
  }

  get parts(): readonly Part[] {
    this.#parts ??= this.assistants.flatMap(({ parts }) => parts.flatMap((part) => parsePart(part) ?? []));
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
    return this.parts.filter((part): part is ToolPart => part.type === 'tool' && isTerminal(part));
  }

  /** Files that completed tools wrote or changed; the last change of a file wins. */
  toolArtifacts(options: { exclude?: ReadonlySet<string> } = {}): readonly ToolFile[] {
    return toolFiles(this.toolParts, options.exclude);
  }

  /** The wire parts of the turn and of its children, for a reply that may have missed some. */
  get wire(): { own: readonly WireMessage[]; children: ReadonlyMap<string, readonly WireMessage[]> } {
    return { own: this.assistants, children: this.#children };
  }
}

function answersOf(messages: readonly WireMessage[], start: number): WireMessage[] {
  const answers: WireMessage[] = [];
  for (const message of messages.slice(start + 1)) {
    if (message.info.role === 'user') {
      if (isFromPerson(message)) break;
    } else if (!isSummary(message)) answers.push(message);
  }
  return answers;
}

/** A run that the server lost stays incomplete for ever; once a later message exists, it is no part of the answer. */
function living(answers: readonly WireMessage[]): WireMessage[] {
  return answers.filter(({ info }, at) => info.time.completed !== undefined || at === answers.length - 1);
}

const isSummary = ({ info }: WireMessage) => info.summary === true || info.mode === 'compaction';

/** Compaction writes user messages of its own: a `compaction` part, or texts that are all synthetic. */
export function isFromPerson({ parts }: WireMessage): boolean {
  return parts.some((part) => part.type !== 'compaction' && part.synthetic !== true);
}
