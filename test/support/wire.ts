import { decodeEvent } from '../../src/opencode/v1/decode.ts';
import type { OpenCodeEvent } from '../../src/reply/events.ts';
import type { WireMessage, WireMessageInfo, WirePart } from '../../src/reply/wire.ts';

/** Builders of what the server sends, for the scenarios that nobody recorded. */
export const session = 'ses_1';
export const prompt = 'msg_prompt';

let count = 0;

export function event(type: string, properties: Record<string, unknown>, id?: string): OpenCodeEvent {
  count += 1;
  return decodeEvent({ id: id ?? `evt_${count}`, type, properties: { sessionID: session, ...properties } });
}

export function userInfo(id: string, more: Partial<WireMessageInfo> = {}): WireMessageInfo {
  return { id, sessionID: session, role: 'user', time: { created: 1 }, ...more };
}

export function assistantInfo(id: string, more: Partial<WireMessageInfo> = {}): WireMessageInfo {
  return { id, sessionID: session, role: 'assistant', parentID: prompt, time: { created: 2 }, ...more };
}

export const message = (info: WireMessageInfo, id?: string): OpenCodeEvent =>
  event('message.updated', { sessionID: info.sessionID, info }, id);

export const part = (wire: WirePart, id?: string): OpenCodeEvent =>
  event('message.part.updated', { sessionID: wire.sessionID, part: wire }, id);

export const delta = (partID: string, text: string, messageID = 'msg_a', id?: string): OpenCodeEvent =>
  event('message.part.delta', { messageID, partID, field: 'text', delta: text }, id);

export function textPart(id: string, text: string, more: Record<string, unknown> = {}): WirePart {
  return { id, sessionID: session, messageID: 'msg_a', type: 'text', text, ...more };
}

export const ended = { time: { start: 1, end: 2 } };

export function wireTool(
  id: string,
  tool: string,
  state: Record<string, unknown>,
  more: Record<string, unknown> = {},
): WirePart {
  return {
    id,
    sessionID: session,
    messageID: 'msg_a',
    type: 'tool',
    tool,
    callID: `call_${id}`,
    state,
    ...more,
  };
}

export function stepFinish(id: string, cost: number, more: Record<string, unknown> = {}): WirePart {
  const tokens = { input: 10, output: 5, reasoning: 1, cache: { read: 2, write: 3 } };
  return { id, sessionID: session, messageID: 'msg_a', type: 'step-finish', cost, tokens, ...more };
}

export const wireMessage = (info: WireMessageInfo, ...parts: WirePart[]): WireMessage => ({ info, parts });
