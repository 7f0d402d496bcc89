import type { Turns } from '../../src/index.ts';

const batch = 1_000;

/** A conversation with so many messages, all of turns that are over; returns its id. */
export async function seededConversation(turns: Turns, count: number): Promise<string> {
  const { Conversation, Message } = turns.models;
  const conversation = await Conversation.create({ title: 'bench' });
  const since = Date.now() - count * 1_000;
  const id = conversation._id;
  for (let first = 1; first <= count; first += batch) {
    const some = Array.from({ length: Math.min(batch, count - first + 1) }, (_, at) => first + at);
    const ids = new Map(some.map((sequence) => [sequence, new Message()._id]));
    const messages = some.map((sequence) => {
      const isUser = sequence % 2 === 1;
      return {
        _id: ids.get(sequence),
        conversation: id,
        counterpart: ids.get(isUser ? sequence + 1 : sequence - 1),
        sequence,
        role: isUser ? 'user' : 'assistant',
        status: 'completed',
        policy: 'default',
        text: `Message ${sequence}. ${'All work and no play. '.repeat(20)}`,
        createdAt: new Date(since + sequence * 1_000),
        ...(isUser ? {} : { parts: '[]', run: { phase: 'finished', epoch: 1, reruns: 0, resends: 0 } }),
      };
    });
    await Message.collection.insertMany(messages as never[]);
  }
  return String(id);
}
