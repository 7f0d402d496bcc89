import { Exchange } from '../../src/reply/exchange.ts';
import type { WireMessage } from '../../src/reply/wire.ts';

export interface ToolCall {
  readonly tool: string;
  readonly input?: Readonly<Record<string, unknown>>;
  readonly metadata?: Readonly<Record<string, unknown>>;
  readonly status?: 'completed' | 'error';
}

/** The exchange of a turn that made these calls, one after the other. */
export function exchangeOf(...calls: readonly ToolCall[]): Exchange {
  const created = Date.now() - 60_000;
  const user: WireMessage = {
    info: { id: 'msg_1', sessionID: 'ses_1', role: 'user', time: { created } },
    parts: [{ id: 'prt_1', sessionID: 'ses_1', messageID: 'msg_1', type: 'text', text: 'go' }],
  };
  const answer: WireMessage = {
    info: {
      id: 'msg_2',
      sessionID: 'ses_1',
      role: 'assistant',
      parentID: 'msg_1',
      finish: 'stop',
      time: { created: created + 1, completed: created + 2 },
    },
    parts: calls.map(({ tool, input = {}, metadata = {}, status = 'completed' }, at) => ({
      id: `prt_${at + 2}`,
      sessionID: 'ses_1',
      messageID: 'msg_2',
      type: 'tool',
      callID: `call_${at}`,
      tool,
      state: { status, input, metadata, output: '', title: '' },
    })),
  };
  return Exchange.from([user, answer], 'msg_1');
}

export const wrote = (filePath: string, content: string): ToolCall => ({
  tool: 'write',
  input: { filePath, content },
});
export const edited = (filePath: string): ToolCall => ({ tool: 'edit', input: { filePath } });
export const patched = (...files: readonly Readonly<Record<string, unknown>>[]): ToolCall => ({
  tool: 'apply_patch',
  metadata: { files },
});
