import { readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { decodeEvent } from '../../src/opencode/v1/decode.ts';
import { Exchange } from '../../src/reply/exchange.ts';
import type { Part } from '../../src/reply/part.ts';
import { Reply } from '../../src/reply/reply.ts';
import { parsePart } from '../../src/reply/response-parser.ts';
import type { ToolFile } from '../../src/reply/tool-files.ts';
import type { WireMessage } from '../../src/reply/wire.ts';
import { type Recording, recordings } from '../support/recordings.ts';
import { Follower } from '../support/reply-log.ts';

function replay({ events, sessionId }: Recording, promptMessageId: string) {
  const follower = new Follower();
  const reply = new Reply({ sessionId, promptMessageId, observers: [follower.observer] });
  for (const event of events) reply.apply(decodeEvent(event));
  return { reply, follower };
}

const polledOf = ({ messages, children }: Recording, promptId: string) =>
  Exchange.from(messages, promptId, { children });

/** What a sub-agent's messages say, as parts. */
const saidBy = (messages: readonly WireMessage[] = []) =>
  messages
    .filter(({ info }) => info.role === 'assistant')
    .flatMap(({ parts }) => parts.flatMap((part) => parsePart(part) ?? []));

function line(part: Part): string {
  if (part.type !== 'tool') return `${part.type} ${JSON.stringify(part.text)}`;
  const fields = [part.title, JSON.stringify(part.input), part.error && `error: ${part.error}`];
  return [`tool ${part.tool} ${part.status}`, ...fields.filter(Boolean)].join(' | ');
}

const nameOf = (parts: readonly Part[], callId: string | undefined) => {
  const task = parts.find((part) => part.type === 'tool' && part.callId === callId);
  return task?.type === 'tool' ? `${task.tool} "${task.input.description}"` : 'nobody knows whom';
};

function fileLine({ path, kind, content, renamedFrom, deleted }: ToolFile): string {
  const from = renamedFrom === undefined ? [] : [`renamed from ${renamedFrom}`];
  const what = content === undefined ? [] : [JSON.stringify(content)];
  return [`file ${path}`, `by ${kind}`, ...(deleted ? ['deleted'] : []), ...from, ...what].join(' | ');
}

/** One turn as a person would want to read it. */
function transcript(one: Recording, promptId: string): string {
  const { reply, follower } = replay(one, promptId);
  const exchange = polledOf(one, promptId);
  const { cost, input, output, steps, children } = reply.usage();
  const usage = `${steps} steps, ${input} tokens in, ${output} out, cost ${cost} (sub-agents ${children.cost})`;
  return [
    'parts',
    ...reply.result().parts.map((part) => `  ${line(part)}`),
    ...[...reply.childSessions().values()].flatMap(({ callId, parts }) => [
      `sub-agent of ${nameOf(reply.result().parts, callId)}`,
      ...parts.map((part) => `  ${line(part)}`),
    ]),
    ...exchange.toolArtifacts().map(fileLine),
    'told',
    ...follower.lines.map((told) => `  ${told}`),
    'end',
    `  ${exchange.error ? `error ${exchange.error.name}` : `finish ${exchange.finish}`}`,
    `  ${usage}`,
    '',
  ].join('\n');
}

describe.each(recordings.map((one) => [one.name, one] as const))('recording %s', (name, one) => {
  it('has at least one turn', () => {
    expect(one.prompts.length).toBeGreaterThan(0);
  });

  it('gives live, at the end of the stream, the parts that its message list has', () => {
    for (const promptId of one.prompts) {
      const { reply, follower } = replay(one, promptId);
      const polled = polledOf(one, promptId);
      expect(reply.result().parts).toEqual(polled.parts);
      expect(reply.result().fullText).toBe(polled.text);
      expect(reply.result().toolParts).toEqual(polled.toolParts);
      expect(reply.usage()).toEqual(polled.usage);
      expect(follower.parts).toEqual(reply.result().parts);
      expect(reply.requests.blocked).toBe(false);
      const told = follower.log.length;
      reply.syncRecoveredParts(polled);
      const news = follower.log.slice(told).filter((line) => !line.startsWith('finalized '));
      expect(news).toEqual([]);
    }
  });

  it('attributes what sub-agents said to the tasks that started them, live as polled', () => {
    for (const promptId of one.prompts) {
      const polled = new Reply({ sessionId: one.sessionId, promptMessageId: promptId });
      polled.syncRecoveredParts(polledOf(one, promptId));
      for (const { reply } of [replay(one, promptId), { reply: polled }]) {
        const children = reply.childSessions();
        expect([...children.keys()].sort()).toEqual([...one.children.keys()].sort());
        for (const [sessionId, { callId, partId, parentId, parts }] of children) {
          const task = reply.result().toolParts.find(({ metadata }) => metadata.sessionId === sessionId);
          expect(task).toMatchObject({ tool: 'task', callId, id: partId });
          expect(parentId).toBe(one.sessionId);
          expect(parts.length).toBeGreaterThan(0);
          expect(parts).toEqual(saidBy(one.children.get(sessionId)));
        }
      }
    }
  });

  it('gives the same parts to a reply that saw nothing but the message list', () => {
    for (const promptId of one.prompts) {
      const follower = new Follower();
      const observers = [follower.observer];
      const reply = new Reply({ sessionId: one.sessionId, promptMessageId: promptId, observers });
      const polled = polledOf(one, promptId);
      reply.syncRecoveredParts(polled);
      expect(reply.result().parts).toEqual(polled.parts);
      expect(follower.parts).toEqual(polled.parts);
      expect(reply.usage()).toEqual(polled.usage);
    }
  });

  it('reads as its golden file says (UPDATE_GOLDEN=1 writes it)', () => {
    const file = new URL(`../fixtures/golden/${name}.txt`, import.meta.url);
    const text = one.prompts.map((promptId) => transcript(one, promptId)).join('\n');
    if (process.env.UPDATE_GOLDEN === '1') writeFileSync(file, text);
    expect(text).toBe(readFileSync(file, 'utf8'));
  });
});
