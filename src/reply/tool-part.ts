import type { ToolPart, ToolStatus } from './part.ts';
import type { WirePart } from './wire.ts';

/** The longest error text of a tool part, in UTF-16 units. */
export const maxErrorLength = 200;

const rank: Record<ToolStatus, number> = { pending: 0, running: 1, completed: 2, error: 2 };

/**
 * The one definition of a tool part: from a live event or a polled message, on top of what is known. A field
 * that an update omits keeps its value, a status never goes back, a terminal one never changes, and a tool that
 * upstream renames to `invalid` keeps its first name.
 */
export function toolPart(wire: WirePart, known?: ToolPart): ToolPart {
  const state = record(wire.state);
  const status = laterStatus(state.status, known?.status);
  const settled = known !== undefined && rank[known.status] === 2;
  const input = nonEmpty(record(state.input)) ?? known?.input ?? {};
  const metadata = { ...known?.metadata, ...record(state.metadata) };
  const title = text(state.title) ?? known?.title;
  const output = text(state.output) ?? known?.output;
  const error = text(state.error)?.slice(0, maxErrorLength) ?? known?.error;
  return {
    id: wire.id,
    messageId: wire.messageID,
    source: 'wire',
    type: 'tool',
    tool: toolName(wire, input, known),
    callId: text(wire.callID) ?? known?.callId ?? '',
    status: settled ? known.status : status,
    input,
    metadata,
    ...(title === undefined ? {} : { title }),
    ...(output === undefined ? {} : { output }),
    ...(error === undefined ? {} : { error }),
  };
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

function laterStatus(status: unknown, known: ToolStatus | undefined): ToolStatus {
  const next = typeof status === 'string' && Object.hasOwn(rank, status) ? (status as ToolStatus) : 'pending';
  return known && rank[known] > rank[next] ? known : next;
}

export const isTerminal = ({ status }: ToolPart): boolean => rank[status] === 2;

function record(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : {};
}

const text = (value: unknown) => (typeof value === 'string' ? value : undefined);

const nonEmpty = (value: Readonly<Record<string, unknown>>) =>
  Object.keys(value).length > 0 ? value : undefined;
