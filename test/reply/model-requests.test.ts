import { describe, expect, it } from '@jest/globals';
import { Exchange } from '../../src/reply/exchange.ts';
import { Reply } from '../../src/reply/reply.ts';
import type { WireMessageInfo, WirePart } from '../../src/reply/wire.ts';
import {
  assistantInfo,
  event,
  message,
  part,
  prompt,
  session,
  stepFinish,
  textPart,
  userInfo,
  wireMessage,
  wireTool,
} from '../support/wire.ts';

/** A reply, how many requests it was told of, and the longest row of them without a tool. */
function counted() {
  const reply = new Reply({ sessionId: session, promptMessageId: prompt });
  const seen = { told: 0, longest: 0 };
  reply.observe({
    requestBegan: ({ withoutTool }) => {
      seen.told += 1;
      seen.longest = Math.max(seen.longest, withoutTool);
    },
  });
  const begins = (id: string, more: Partial<WireMessageInfo> = {}) =>
    reply.apply(message(assistantInfo(id, more)));
  const says = (wire: WirePart, messageID: string) => reply.apply(part({ ...wire, messageID }));
  return { reply, seen, begins, says };
}

const stepStart = (id: string): WirePart => ({ ...textPart(id, ''), type: 'step-start' });

describe('requests to the model', () => {
  it('count as they begin, whatever they end with, and once however often they are told', () => {
    const { reply, seen, begins, says } = counted();
    begins('msg_a');
    begins('msg_a');
    says(stepFinish('f', 1, { reason: 'unknown' }), 'msg_a');
    begins('msg_b', { finish: 'unknown' });
    begins('msg_b', { time: { created: 2, completed: 3 } });
    expect([reply.modelRequests, seen.told]).toEqual([2, 2]);
  });

  it('count again when the server begins the same message again', () => {
    const { reply, seen, begins, says } = counted();
    begins('msg_a');
    for (const id of ['s1', 's1', 's2', 's3', 's2']) says(stepStart(id), 'msg_a');
    expect([reply.modelRequests, seen.told, seen.longest]).toEqual([3, 3, 3]);
  });

  it('count for compactions and sub-agents, not for other people', () => {
    const { reply, begins } = counted();
    reply.apply(message(userInfo(prompt)));
    begins('msg_a');
    reply.apply(message(userInfo('msg_c', { time: { created: 3 } })));
    reply.apply(part({ ...textPart('c', ''), messageID: 'msg_c', type: 'compaction', auto: true }));
    begins('msg_s', { parentID: 'msg_c', summary: true });
    reply.apply(message(userInfo('msg_other', { time: { created: 4 } })));
    reply.apply(part(textPart('o', 'hello', { messageID: 'msg_other' })));
    begins('msg_x', { parentID: 'msg_other', time: { created: 5 } });
    reply.apply(event('session.created', { info: { id: 'ses_child', parentID: session } }));
    begins('msg_child', { sessionID: 'ses_child' });
    expect(reply.modelRequests).toBe(3);
  });

  it('count when a read finds them, also again', () => {
    const { reply, seen, begins } = counted();
    begins('msg_a');
    const messages = [
      wireMessage(userInfo(prompt), textPart('u', 'go', { messageID: prompt })),
      wireMessage(
        assistantInfo('msg_a', { finish: 'unknown', time: { created: 2, completed: 2 } }),
        stepStart('s'),
      ),
      wireMessage(assistantInfo('msg_b')),
    ];
    for (let look = 0; look < 2; look += 1) reply.syncRecoveredParts(Exchange.from(messages, prompt));
    expect([reply.modelRequests, seen.told]).toEqual([2, 2]);
  });

  it('are in a row without a tool until one is called, in each session by itself', () => {
    const { reply, seen, begins, says } = counted();
    reply.apply(event('session.created', { info: { id: 'ses_child', parentID: session } }));
    for (const id of ['1', '2', '3']) {
      begins(`msg_${id}`);
      begins(`msg_child_${id}`, { sessionID: 'ses_child' });
    }
    expect(seen.longest).toBe(3);
    says(wireTool('t', 'bash', { status: 'running', input: {} }), 'msg_3');
    begins('msg_4');
    // Asked for something else, a sub-agent answers that.
    const asked = { sessionID: 'ses_child', messageID: 'msg_task' };
    reply.apply(message(userInfo('msg_task', { sessionID: 'ses_child' })));
    reply.apply(part(textPart('u', 'and now this', asked)));
    begins('msg_child_4', { sessionID: 'ses_child' });
    expect(seen.longest).toBe(3);
  });
});
