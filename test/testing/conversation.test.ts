import { afterEach, describe, expect, it } from '@jest/globals';
import { IllegalStateError, InvalidInputError, NotFoundError } from '../../src/errors.ts';
import { scriptedUpstream, type TestTurns, testTurns, waitForRequest } from '../../src/testing/index.ts';

let test: TestTurns;
afterEach(() => test.close());

const open = async (script: Parameters<typeof scriptedUpstream>[0]) => {
  test = await testTurns({ upstream: scriptedUpstream(script), policies: { default: {} } });
  const id = test.conversation();
  return { turns: test.turns, id, conversation: test.turns.conversation(id) };
};

describe('a handle on a conversation', () => {
  it('enqueues on it, and shows what came of it', async () => {
    const { turns, id, conversation } = await open(async (agent) => agent.says('Hello.'));
    expect(conversation.id).toBe(id);
    expect(await conversation.messages()).toEqual({ messages: [] });
    const turn = await conversation.enqueue({ text: 'Hi', idempotencyKey: 'click' });
    expect((await turns.enqueue({ conversation: id, text: 'Hi', idempotencyKey: 'click' })).id).toBe(turn.id);
    await turns.result(turn.id);
    const { messages } = await turns.conversation({ _id: id } as never).messages();
    expect(messages.map(({ role, text, turnId }) => [role, text, turnId])).toEqual([
      ['user', 'Hi', turn.id],
      ['assistant', 'Hello.', turn.id],
    ]);
    expect(messages[1]).toMatchObject({ status: 'completed', progress: 'finished' });
    expect(await conversation.session().stored()).toMatchObject({ sessionId: expect.any(String) });
    expect(await turns.list({ status: 'completed' })).toMatchObject({ turns: [{ id: turn.id }] });
  });

  it('has what waits for people, as long as it does', async () => {
    const { turns, conversation } = await open(async (agent) => {
      await agent.asks({ question: 'Which one?', options: ['a', 'b'] });
      await agent.says('Thanks.');
    });
    expect(await conversation.waitingForPeople()).toEqual([]);
    const { id } = await conversation.enqueue({ text: 'Hi' });
    await waitForRequest(turns, id);
    const [request] = await conversation.waitingForPeople();
    expect(request).toMatchObject({ turnId: id, kind: 'question', state: 'open' });
    expect((await turns.list({ waitingForPeople: true })).turns.map((turn) => turn.id)).toEqual([id]);
    if (!request) throw new Error('no request');
    await turns.answer(request.turnId, request.requestId, { kind: 'question', answers: [['a']] });
    await turns.result(id);
    expect(await conversation.waitingForPeople()).toEqual([]);
    expect((await turns.list({ waitingForPeople: true })).turns).toEqual([]);
  });

  it('refuses what is no conversation, another one, and every call once all is closed', async () => {
    const { turns, id, conversation } = await open(async () => undefined);
    expect(() => turns.conversation('x')).toThrow(InvalidInputError);
    const foreign = { text: 'Hi', conversation: id } as never;
    await expect(conversation.enqueue(foreign)).rejects.toMatchObject({ field: 'conversation' });
    await expect(conversation.enqueue(null as never)).rejects.toMatchObject({ field: 'input' });
    await expect(conversation.messages({ limt: 1 } as never)).rejects.toMatchObject({ field: 'limt' });
    expect(() => conversation.session({ directory: 'here' })).toThrow(InvalidInputError);
    test.deleteConversation(id);
    await expect(conversation.messages()).rejects.toThrow(NotFoundError);
    await expect(conversation.enqueue({ text: 'Hi' })).rejects.toThrow(NotFoundError);
    await turns.close();
    for (const call of [conversation.messages(), conversation.waitingForPeople(), turns.list()])
      await expect(call).rejects.toThrow(IllegalStateError);
  });
});
