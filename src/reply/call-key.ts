import type { ToolPart } from './part.ts';
import type { WireQuestion } from './wire.ts';

/**
 * Names a tool call within a turn. A call's id alone does not: it is the provider's own, and some count the calls of
 * each step anew (`call_0`), so the message that made it belongs to its name.
 */
export const callKey = ({ messageId, callId }: Pick<ToolPart, 'messageId' | 'callId'>): string =>
  `${messageId} ${callId}`;

/** The name of the call that asks a question or a permission; undefined when no call does. */
export function askingCall({ tool }: Pick<WireQuestion, 'tool'>): string | undefined {
  return tool && callKey({ messageId: tool.messageID, callId: tool.callID });
}
