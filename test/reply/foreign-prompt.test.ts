import { expect, it } from '@jest/globals';
import { Exchange } from '../../src/reply/exchange.ts';
import { Reply } from '../../src/reply/reply.ts';
import {
  assistantInfo,
  event,
  message,
  part,
  prompt,
  session,
  textPart,
  userInfo,
  wireMessage,
} from '../support/wire.ts';

const own = userInfo(prompt);
const ownText = textPart('u1', 'mine', { messageID: prompt });
const theirs = userInfo('msg_f', { time: { created: 3 } });
const theirText = textPart('u2', 'theirs', { messageID: 'msg_f' });
const toThem = assistantInfo('msg_b', { parentID: 'msg_f', time: { created: 4 } });
const asks = (messageID: string) => ({
  id: `per_${messageID}`,
  permission: 'bash',
  patterns: ['*'],
  tool: { messageID, callID: 'call_0' },
});

function replyWith(learn: (reply: Reply) => void): string[] {
  const asked: string[] = [];
  const observers = [{ permissionAsked: ({ id }: { id: string }) => void asked.push(id) }];
  const reply = new Reply({ sessionId: session, promptMessageId: prompt, observers });
  learn(reply);
  for (const id of ['msg_a', 'msg_b']) reply.apply(event('permission.asked', asks(id)));
  return asked;
}

it("what somebody else's run asks in the session is not asked by the turn, live", () => {
  const asked = replyWith((reply) => {
    const infos = [message(own), part(ownText), message(assistantInfo('msg_a'))];
    for (const known of [...infos, message(theirs), part(theirText), message(toThem)]) reply.apply(known);
  });
  expect(asked).toEqual(['per_msg_a']);
});

it('nor when the stream was lost and its messages were read', () => {
  const list = [wireMessage(own, ownText), wireMessage(assistantInfo('msg_a'))];
  const all = [...list, wireMessage(theirs, theirText), wireMessage(toThem)];
  const asked = replyWith((reply) => reply.syncRecoveredParts(Exchange.from(all, prompt)));
  expect(asked).toEqual(['per_msg_a']);
});
