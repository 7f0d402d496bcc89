/** What a scripted model says to one request: parts are sent in this order, whatever is given. */
export interface Step {
  readonly reasoning?: readonly string[];
  /** Chunks of the answer's text, as they are sent. */
  readonly text?: readonly string[];
  /** `id`: some providers count the calls of each step anew (`call_0`); default one of its own. */
  readonly tools?: readonly {
    readonly id?: string;
    readonly name: string;
    readonly input: Readonly<Record<string, unknown>>;
  }[];
  /** Wait before each chunk. */
  readonly chunkDelayMs?: number;
  /** Wait before the first byte. */
  readonly delayMs?: number;
  /** Awaited before chunk number `gateAt` (default 0): a test opens it when it is ready. */
  readonly gate?: Promise<unknown>;
  readonly gateAt?: number;
  readonly usage?: {
    readonly input: number;
    readonly output: number;
    readonly reasoning?: number;
    readonly cached?: number;
  };
  /** In place of `stop` or `tool_calls`. */
  readonly finish?: string;
  /** Answered instead of a stream. */
  readonly error?: { readonly status: number; readonly body?: unknown };
  /** After everything else: keep the connection open and say nothing more, or cut it. */
  readonly ending?: 'hang' | 'reset';
}

/** A request as the server sent it. */
export interface ModelRequest {
  readonly number: number;
  readonly model: string;
  readonly messages: readonly { readonly role: string; readonly content?: unknown }[];
  /** Text of the last message that a user wrote. */
  readonly userText: string;
  /** How many answers the model has given to that message already: 0 for the first step of a turn. */
  readonly step: number;
  readonly tools: readonly string[];
  /** `other`: a title or a summary, asked without tools. */
  readonly kind: 'turn' | 'other';
  /** How it ended; undefined while it runs. `aborted`: the server hung up. */
  outcome: 'completed' | 'aborted' | undefined;
}

export function parseRequest(number: number, body: unknown): ModelRequest {
  const {
    model = '',
    messages = [],
    tools = [],
  } = body as {
    model?: string;
    messages?: ModelRequest['messages'];
    tools?: { function?: { name?: string } }[];
  };
  const lastUser = messages.findLastIndex(({ role }) => role === 'user');
  return {
    number,
    model,
    messages,
    userText: textOf(messages[lastUser]?.content),
    step: messages.slice(lastUser + 1).filter(({ role }) => role === 'assistant').length,
    tools: tools.map((tool) => tool.function?.name ?? ''),
    kind: tools.length > 0 ? 'turn' : 'other',
    outcome: undefined,
  };
}

function textOf(content: unknown): string {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return '';
  return content
    .map((part: unknown) =>
      typeof part === 'object' && part !== null && 'text' in part ? String(part.text) : '',
    )
    .join('\n');
}
