import { expect, it } from '@jest/globals';
import { fittedParts } from '../../src/bounds/bounded-reply.ts';
import { byteBudget } from '../../src/bounds/byte-budget.ts';
import { jsonBytes } from '../../src/bounds/cut-text.ts';
import { ServiceUnavailableError } from '../../src/errors.ts';
import { FollowerFeed } from '../../src/live/feed.ts';
import type { TurnPublisher } from '../../src/ports/turn-stream.ts';
import type { Part } from '../../src/reply/part.ts';
import { Reply } from '../../src/reply/reply.ts';
import { systemClock } from '../../src/timing/clock.ts';
import { applyEntry, emptyView, type TurnEntryBody, type TurnView } from '../../src/turn/entry.ts';

const MiB = 1024 * 1024;

/** A follower at the other end of a stream that loses every `losing`th append, half of them after it was done. */
class Stream implements TurnPublisher {
  view: TurnView = emptyView;
  readonly sizes: number[] = [];
  heldBytes = 0;
  #appends = 0;
  readonly #losing: number;

  constructor(losing = Number.POSITIVE_INFINITY) {
    this.#losing = losing;
  }

  open = async () => ({ view: this.view, at: this.#at() });

  append: TurnPublisher['append'] = async (_fence, _where, entries) => {
    this.#appends += 1;
    const lost = this.#appends % this.#losing === 0;
    if (!lost || this.#appends % 2 === 0) this.#take(entries);
    if (lost) throw new ServiceUnavailableError('redis', 'lost');
    return this.#at();
  };

  end = async () => undefined;

  #at = () => ({ stream: 'a'.repeat(12), number: this.sizes.length });

  #take(entries: readonly TurnEntryBody[]): void {
    for (const entry of entries) {
      this.view = applyEntry(this.view, entry);
      this.sizes.push(jsonBytes(entry));
    }
    this.heldBytes = Math.max(this.heldBytes, jsonBytes(this.view.parts));
  }
}

function watched(publisher: TurnPublisher) {
  const reply = new Reply({ sessionId: 'ses_1', promptMessageId: 'msg_1' });
  const feed = new FollowerFeed({
    publisher,
    fence: { turnId: 'turn', epoch: 1 },
    clock: systemClock,
    reporter: { report: () => undefined },
    view: emptyView,
    parts: () => reply.result().parts,
    onOwnershipLost: () => undefined,
    intervalMs: 3_600_000,
  });
  feed.begin();
  const change = (part: Part) => feed.change(part);
  reply.observe({
    partAdded: change,
    partChanged: (part, { replaced }) => feed.change(part, replaced),
    toolProgressed: change,
    partsReset: (parts) => feed.reset(parts),
  });
  const info = {
    id: 'msg_2',
    sessionID: 'ses_1',
    role: 'assistant',
    parentID: 'msg_1',
    time: { created: 1 },
  } as const;
  reply.apply({ type: 'message.updated', properties: { info } } as never);
  const at = { sessionID: 'ses_1', messageID: 'msg_2' };
  return {
    reply,
    feed,
    part: (part: object) =>
      reply.apply({ type: 'message.part.updated', properties: { part: { ...at, ...part } } } as never),
    grow: (partID: string, delta: string) =>
      reply.apply({
        type: 'message.part.delta',
        properties: { ...at, partID, field: 'text', delta },
      } as never),
    tool: (id: string, output: string) => ({
      id,
      type: 'tool',
      tool: 'bash',
      callID: `call_${id}`,
      state: { status: 'completed', input: { command: id }, output, title: id, metadata: { output } },
    }),
    /** As the end of a turn does it; what a failed append cost is made up for by the next ones. */
    settle: async () => {
      const stored = fittedParts(reply.result().parts);
      feed.settle(stored);
      for (let tries = 0; tries < 5; tries += 1) await feed.flush();
      return stored;
    },
  };
}

it('100,000 deltas are told in entries of the bytes that they have', async () => {
  const stream = new Stream();
  const { part, grow, feed, settle } = watched(stream);
  part({ id: 'prt_1', type: 'text', text: '' });
  for (let n = 0; n < 100_000; n += 1) {
    grow('prt_1', 'word ');
    if (n % 1_000 === 0) await feed.flush();
  }
  const stored = await settle();
  expect(stream.view.parts).toEqual(stored);
  expect(stream.view.parts[0]).toMatchObject({ text: 'word '.repeat(100_000) });
  expect(stream.sizes.length).toBeLessThan(120);
  expect(stream.sizes.reduce((a, b) => a + b)).toBeLessThan(500_000 + 120 * 200);
});

it('a text that grows beyond its bound is told to it, and then only how much is left out', async () => {
  const stream = new Stream();
  const { part, grow, feed, settle } = watched(stream);
  part({ id: 'prt_1', type: 'text', text: '' });
  for (let n = 0; n < 150; n += 1) {
    grow('prt_1', 'x'.repeat(20_000));
    await feed.flush();
  }
  const stored = await settle();
  expect(stream.view.parts).toEqual(stored);
  expect((stored[0] as { text: string }).text).toMatch(/x\n\[\d+ bytes left out\]$/);
  expect(stream.sizes.reduce((a, b) => a + b)).toBeLessThan(1.2 * MiB);
});

it.each([Number.POSITIVE_INFINITY, 7, 2])(
  'followers hold little more than what is stored while many large outputs come, and exactly that in the end (every %p. append lost)',
  async (losing) => {
    const stream = new Stream(losing);
    const { part, tool, feed, settle } = watched(stream);
    part({ id: 'prt_t', type: 'text', text: 'I print. ', time: { start: 1, end: 2 } });
    for (let n = 0; n < 200; n += 1) {
      part(tool(`prt_${n}`, `${n} ${'x'.repeat(45_000)}`));
      if (n % 3 === 0) await feed.flush();
    }
    const stored = await settle();
    expect(stream.view.parts).toEqual(stored);
    expect(stored).toHaveLength(201);
    expect(jsonBytes(stored)).toBeLessThanOrEqual(byteBudget.parts);
    expect(stream.heldBytes).toBeLessThan(1.5 * byteBudget.parts);
    expect(Math.max(...stream.sizes)).toBeLessThanOrEqual(byteBudget.parts + 1_024);
  },
);

it('an output of 20 MB is one small entry', async () => {
  const stream = new Stream();
  const { part, tool, settle } = watched(stream);
  part(tool('prt_1', 'x'.repeat(20 * MiB)));
  const stored = await settle();
  expect(stream.view.parts).toEqual(stored);
  expect(Math.max(...stream.sizes)).toBeLessThan(128 * 1_024);
});
