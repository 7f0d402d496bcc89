import { readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { decodeEvent } from '../../src/reply/events.ts';
import { Exchange } from '../../src/reply/exchange.ts';
import type { Part } from '../../src/reply/part.ts';
import { Reply } from '../../src/reply/reply.ts';
import { type Recording, recordings } from '../support/recordings.ts';

function replay({ events, sessionId }: Recording, promptMessageId: string): Reply {
  const reply = new Reply({ sessionId, promptMessageId });
  for (const event of events) reply.apply(decodeEvent(event));
  return reply;
}

/** What only the stream knows: the request id of a question that was joined to its tool part. */
const polledShape = (part: Part) => {
  if (part.type !== 'tool') return part;
  const { requestId: _, ...metadata } = part.metadata;
  return { ...part, metadata };
};

const line = (part: Part) =>
  part.type === 'tool'
    ? `tool ${part.tool} ${part.status} ${part.title ?? ''} ${JSON.stringify(part.input)} ${part.error ?? ''}`.trim()
    : `${part.type} ${JSON.stringify(part.text)}`;

function golden(one: Recording): string {
  const turns = one.prompts.map((id) => {
    const exchange = Exchange.from(one.messages, id);
    const { usage } = exchange;
    const end = exchange.error ? `error ${exchange.error.name}` : `finish ${exchange.finish}`;
    const cost = `cost ${usage.cost} tokens ${usage.input}+${usage.output} steps ${usage.steps}`;
    return [...exchange.parts.map(line), `${end}, ${cost}`].join('\n');
  });
  return `${turns.join('\n---\n')}\n`;
}

describe.each(recordings.map((one) => [one.name, one] as const))('recording %s', (name, one) => {
  it('has at least one turn', () => {
    expect(one.prompts.length).toBeGreaterThan(0);
  });

  it('gives live, at the end of the stream, the parts that its message list has', () => {
    for (const prompt of one.prompts) {
      const live = replay(one, prompt);
      const polled = Exchange.from(one.messages, prompt);
      expect(live.result().parts.map(polledShape)).toEqual(polled.parts);
      expect(live.usage()).toEqual(polled.usage);
      live.syncRecoveredParts(polled);
      expect(live.result().parts.map(polledShape)).toEqual(polled.parts);
    }
  });

  it('reads as its golden file says', () => {
    const file = new URL(`../fixtures/golden/${name}.txt`, import.meta.url);
    if (process.env.UPDATE_GOLDEN === '1') writeFileSync(file, golden(one));
    expect(golden(one)).toBe(readFileSync(file, 'utf8'));
  });
});
