import type { ToolPart, ToolStatus } from './part.ts';
import { parseTodos } from './todo.ts';
import type { WirePart } from './wire.ts';

/** The longest error text of a tool part, in UTF-16 units. */
export const maxErrorLength = 200;

const rank: Record<ToolStatus, number> = { pending: 0, running: 1, completed: 2, error: 2 };

/** What an update may tell or omit. */
interface Fields {
  readonly input?: ToolPart['input'] | undefined;
  readonly title?: string | undefined;
  readonly output?: string | undefined;
  readonly error?: string | undefined;
}

/**
 * The one definition of a tool part: from a live event or a polled message, on top of what is known. A field
 * that an update omits keeps its value, a status never goes back, a terminal one never changes, a late update
 * of an earlier status adds only what was missing, and a tool that upstream renames to `invalid` keeps its
 * first name and has failed. Reads any garbage; never throws.
 */
export function toolPart(wire: WirePart, known?: ToolPart): ToolPart {
  const state = record(wire.state);
  const refused = refusalOf(wire, state);
  const status = refused === undefined ? statusOf(state.status) : 'error';
  const stale =
    known !== undefined && (isTerminal(known) ? status !== known.status : rank[status] < rank[known.status]);
  const tool = toolName(wire, record(state.input), known);
  const told: Fields = {
    input: inputOf(tool, state.input),
    title: refused === undefined ? text(state.title) : undefined,
    output: text(state.output),
    error: (refused ?? text(state.error))?.slice(0, maxErrorLength),
  };
  const [first, second] = stale ? [known, told] : [told, known];
  const part: { -readonly [K in keyof ToolPart]: ToolPart[K] } = {
    id: wire.id,
    messageId: wire.messageID,
    source: 'wire',
    type: 'tool',
    tool,
    callId: text(wire.callID) ?? known?.callId ?? '',
    status: stale ? known.status : status,
    input: nonEmpty(first?.input) ?? second?.input ?? {},
    metadata: merged(known?.metadata, record(state.metadata), stale),
  };
  for (const field of ['title', 'output', 'error'] as const) {
    const value = first?.[field] ?? second?.[field];
    if (value !== undefined) part[field] = value;
  }
  return part;
}

export const isTerminal = ({ status }: ToolPart): boolean => rank[status] === 2;

/** Upstream completes a call that it never made (no such tool, or one that is denied) as the tool `invalid` (1.18). */
function refusalOf(wire: WirePart, state: Readonly<Record<string, unknown>>): string | undefined {
  if (wire.tool !== 'invalid' || state.status !== 'completed') return undefined;
  return text(record(state.input).error) ?? text(state.output) ?? 'the tool could not be called';
}

/** Live, the first name comes before the rename; polled, only the input of `invalid` still tells it. */
function toolName(
  wire: WirePart,
  input: Readonly<Record<string, unknown>>,
  known: ToolPart | undefined,
): string {
  const name = text(wire.tool) ?? known?.tool ?? 'unknown';
  if (name !== 'invalid') return name;
  if (known && known.tool !== 'invalid') return known.tool;
  return text(input.tool) ?? name;
}

/** Todos have one shape everywhere, also where the model spelt a status in its own way. */
function inputOf(tool: string, value: unknown): Readonly<Record<string, unknown>> | undefined {
  const input = nonEmpty(record(value));
  if (tool !== 'todowrite' || !Array.isArray(input?.todos)) return input;
  return { ...input, todos: parseTodos(input.todos) };
}

function statusOf(status: unknown): ToolStatus {
  return typeof status === 'string' && Object.hasOwn(rank, status) ? (status as ToolStatus) : 'pending';
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : {};
}

const text = (value: unknown) => (typeof value === 'string' ? value : undefined);

function nonEmpty(value: ToolPart['input'] | undefined): ToolPart['input'] | undefined {
  for (const _ in value) return value;
  return undefined;
}

function merged(known: ToolPart['metadata'] | undefined, told: ToolPart['metadata'], stale: boolean) {
  if (!nonEmpty(known)) return told;
  if (!nonEmpty(told)) return known ?? told;
  return stale ? { ...told, ...known } : { ...known, ...told };
}
