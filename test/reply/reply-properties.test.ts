import '../support/fuzz-seed.ts';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { sseReader } from '../../src/opencode/sse.ts';
import { decodeEvent } from '../../src/opencode/v1/decode.ts';
import { Exchange } from '../../src/reply/exchange.ts';
import { Reply } from '../../src/reply/reply.ts';
import type { WireEvent } from '../../src/reply/wire.ts';
import { type Recording, recordings, sseBytes } from '../support/recordings.ts';
import { Follower } from '../support/reply-log.ts';

type Turn = Recording & { readonly prompt: string };

const turns: readonly Turn[] = recordings.flatMap((one) => one.prompts.map((prompt) => ({ ...one, prompt })));

/** Replays and checks on the way that a follower of what is told never has another text than the reply. */
function replay({ sessionId, prompt }: Turn, events: readonly WireEvent[]) {
  const follower = new Follower();
  const reply = new Reply({ sessionId, promptMessageId: prompt, observers: [follower.observer] });
  for (const event of events) {
    reply.apply(decodeEvent(event));
    expect(follower.parts).toEqual(reply.result().parts);
  }
  return reply;
}

function outcome(reply: Reply) {
  return {
    result: reply.result(),
    usage: reply.usage(),
    todos: reply.todos,
    children: reply.childSessions(),
    blocked: reply.requests.blocked,
    idle: reply.idle,
  };
}

const expected = new Map(turns.map((turn) => [turn, outcome(replay(turn, turn.events))]));

/** By session: the texts of the sub-agents' parts. */
const saidByChildren = (reply: Reply) =>
  [...reply.childSessions()].map(([id, { callId, parts }]) => [id, callId, parts]).sort();
const expectedOfChildren = new Map(
  turns.map((turn) => [turn, saidByChildren(replay(turn, turn.events))] as const),
);

const turn = fc.constantFrom(...turns);
const numbers = fc.array(fc.nat(), { maxLength: 30 });
const property = <T extends unknown[]>(
  name: string,
  arbitraries: { [K in keyof T]: fc.Arbitrary<T[K]> },
  check: (...values: T) => void,
) =>
  it(name, () =>
    fc.assert(fc.property(...(arbitraries as never as [fc.Arbitrary<unknown>]), check as never), {
      numRuns: 200,
    }),
  );

const isDelta = ({ type }: WireEvent) => type === 'message.part.delta';

/** Puts copies of events at random places behind them. */
function duplicated(events: readonly WireEvent[], picks: readonly number[]): WireEvent[] {
  const result = [...events];
  for (const pick of picks) {
    const from = pick % result.length;
    const to = from + 1 + (Math.trunc(pick / result.length) % (result.length - from));
    result.splice(to, 0, result[from] as WireEvent);
  }
  return result;
}

function interleaved(
  a: readonly WireEvent[],
  b: readonly WireEvent[],
  picks: readonly number[],
): WireEvent[] {
  const result = [...a];
  let at = 0;
  for (const [index, event] of b.entries()) {
    at = Math.min(result.length, at + ((picks[index % Math.max(1, picks.length)] ?? 1) % 4));
    result.splice(at, 0, event);
    at += 1;
  }
  return result;
}

function moved(events: readonly WireEvent[], from: number, to: number): WireEvent[] {
  const result = [...events];
  const [event] = result.splice(from, 1);
  if (event) result.splice(to, 0, event);
  return result;
}

/** Positions of `todo.updated`, each with the stretch in which its tool call, and no other, reports. */
function todoWindows(events: readonly WireEvent[]): { at: number; from: number; to: number }[] {
  const isCall = (event: WireEvent) =>
    (event.properties.part as { tool?: string } | undefined)?.tool === 'todowrite';
  const idOf = (event: WireEvent) => (event.properties.part as { id: string }).id;
  return events.flatMap((event, at) => {
    if (event.type !== 'todo.updated') return [];
    const own = events.slice(0, at).findLast(isCall);
    if (!own) return [];
    const first = events.findIndex((other) => isCall(other) && idOf(other) === idOf(own));
    const before = events.slice(0, first).findLastIndex(isCall);
    const last = events.findLastIndex((other) => isCall(other) && idOf(other) === idOf(own));
    return [{ at, from: before + 1, to: last }];
  });
}

describe('whatever happens to the events on their way, the final reply is the same', () => {
  property<[Turn, number[]]>('any duplication', [turn, numbers], (one, picks) => {
    expect(outcome(replay(one, duplicated(one.events, picks)))).toEqual(expected.get(one));
  });

  const sizes = fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1, maxLength: 5 });
  property<[Turn, number[]]>('any splitting of the bytes they come in', [turn, sizes], (one, lengths) => {
    const bytes = sseBytes(one);
    const events: WireEvent[] = [];
    const reader = sseReader((data) => events.push(JSON.parse(data)));
    for (let from = 0, at = 0; from < bytes.length; at += 1) {
      const to = from + (lengths[at % lengths.length] ?? 1);
      reader.push(bytes.subarray(from, to));
      from = to;
    }
    expect(outcome(replay(one, events))).toEqual(expected.get(one));
  });

  property<[Turn, number[]]>(
    'any report of a message or a part that comes again under a new id',
    [turn, numbers],
    (one, picks) => {
      const reports = new Set(['message.updated', 'message.part.updated']);
      const once = new Set(one.events);
      const events = duplicated(one.events, picks)
        .filter((event, at, all) => reports.has(event.type) || all.indexOf(event) === at)
        .map((event, at) => (once.delete(event) ? event : { ...event, id: `evt_again_${at}` }));
      expect(outcome(replay(one, events))).toEqual(expected.get(one));
    },
  );

  property<[Turn, Turn, number[]]>(
    'any interleaving with another session',
    [turn, turn, numbers],
    (one, other, picks) => {
      fc.pre(one.sessionId !== other.sessionId);
      const events = interleaved(one.events, other.events, picks);
      expect(outcome(replay(one, events))).toEqual(expected.get(one));
    },
  );

  property<[Turn, number[]]>('any loss of deltas before the whole text', [turn, numbers], (one, picks) => {
    const deltas = one.events.filter(isDelta);
    const lost = new Set(picks.map((pick) => deltas[pick % Math.max(1, deltas.length)]));
    const events = one.events.filter((event) => !lost.has(event));
    expect(outcome(replay(one, events))).toEqual(expected.get(one));
  });

  property<[Turn, number, number]>(
    'deltas that come again after the whole text under a new id',
    [turn, fc.nat(), fc.nat()],
    (one, pick, place) => {
      const deltas = one.events.filter(isDelta);
      fc.pre(deltas.length > 0);
      const again = deltas[pick % deltas.length] as WireEvent;
      const { partID } = again.properties;
      const whole = one.events.findLastIndex(
        (event) => (event.properties.part as { id?: string } | undefined)?.id === partID,
      );
      const at = whole + 1 + (place % (one.events.length - whole));
      const events = [...one.events.slice(0, at), { ...again, id: 'evt_again' }, ...one.events.slice(at)];
      expect(outcome(replay(one, events))).toEqual(expected.get(one));
    },
  );

  const withTodos = turns.filter(({ events }) => todoWindows(events).length > 0);
  property<[Turn, number, number]>(
    'todos before or after any report of their call',
    [fc.constantFrom(...withTodos), fc.nat(), fc.nat()],
    (one, pick, place) => {
      const windows = todoWindows(one.events);
      const { at, from, to } = windows[pick % windows.length] as (typeof windows)[number];
      const events = moved(one.events, at, from + (place % (to - from + 1)));
      expect(outcome(replay(one, events))).toEqual(expected.get(one));
    },
  );

  const asked = ({ type }: WireEvent) => type === 'question.asked';
  const withQuestions = turns.filter(({ events }) => events.some(asked));
  property<[Turn, number]>(
    'a question anywhere',
    [fc.constantFrom(...withQuestions), fc.nat()],
    (one, place) => {
      const at = one.events.findIndex(asked);
      const events = moved(one.events, at, place % one.events.length);
      expect(outcome(replay(one, events))).toEqual(expected.get(one));
    },
  );

  property<[Turn, number[], number[], Turn, number[]]>(
    'all of it at once',
    [turn, numbers, numbers, turn, numbers],
    (one, copies, losses, other, mix) => {
      const deltas = one.events.filter(isDelta);
      const lost = new Set(losses.map((pick) => deltas[pick % Math.max(1, deltas.length)]));
      const kept = one.events.filter((event) => !lost.has(event));
      const rest = other.sessionId === one.sessionId ? [] : other.events;
      const events = interleaved(duplicated(kept, copies), rest, mix);
      expect(outcome(replay(one, events))).toEqual(expected.get(one));
    },
  );
});

describe('what no event tells any more, the message list does', () => {
  property<[Turn, number[], boolean]>(
    'any loss of any events',
    [turn, numbers, fc.boolean()],
    (one, picks, torn) => {
      const lost = new Set(picks.map((pick) => one.events[pick % one.events.length]));
      const events = one.events.filter((event) => !lost.has(event));
      const reply = replay(one, events);
      if (torn) reply.streamBroken();
      const exchange = Exchange.from(one.messages, one.prompt, { children: one.children });
      reply.syncRecoveredParts(exchange);
      expect(reply.usage()).toEqual(exchange.usage);
      expect(saidByChildren(reply)).toEqual(expectedOfChildren.get(one));
      expect(reply.result().parts.filter(({ source }) => source === 'wire')).toEqual(
        expect.arrayContaining([...exchange.parts]),
      );
      expect(reply.result().fullText).toBe(exchange.text);
    },
  );

  property<[Turn, number[]]>('parts that come before their messages', [turn, numbers], (one, picks) => {
    const isInfo = ({ type }: WireEvent) => type === 'message.updated';
    let events = [...one.events];
    for (const pick of picks) {
      const infos = events.flatMap((event, at) => (isInfo(event) ? [at] : []));
      const from = infos[pick % infos.length] ?? 0;
      events = moved(events, from, from + (Math.trunc(pick / 7) % (events.length - from)));
    }
    const reply = replay(one, events);
    const parts = new Set(reply.result().parts.map(({ id }) => id));
    expect(parts).toEqual(new Set(expected.get(one)?.result.parts.map(({ id }) => id)));
    const exchange = Exchange.from(one.messages, one.prompt);
    reply.syncRecoveredParts(exchange);
    expect(reply.result().parts).toEqual(exchange.parts);
  });

  property<[Turn, number]>('a new owner in the middle of the turn', [turn, fc.nat()], (one, place) => {
    const at = place % one.events.length;
    const first = replay(one, one.events.slice(0, at));
    const second = new Reply({ sessionId: one.sessionId, promptMessageId: one.prompt });
    second.replaceParts(first.result().parts);
    for (const event of one.events.slice(at)) second.apply(decodeEvent(event));
    const exchange = Exchange.from(one.messages, one.prompt);
    second.syncRecoveredParts(exchange);
    expect(second.result().fullText).toBe(exchange.text);
    expect(second.result().parts.map(({ id }) => id)).toEqual(exchange.parts.map(({ id }) => id));
  });
});

describe('events that no server should send', () => {
  const types = [...new Set(recordings.flatMap(({ events }) => events.map(({ type }) => type)))];

  it('are data and never an exception', () => {
    const known = fc.record({
      id: fc.string(),
      type: fc.constantFrom(
        ...types,
        'message.removed',
        'message.part.removed',
        'question.asked',
        '__proto__',
      ),
      properties: fc.anything(),
    });
    fc.assert(
      fc.property(fc.oneof(fc.anything(), known), (raw) => {
        const reply = new Reply({ sessionId: 'ses_1', promptMessageId: 'msg_1' });
        reply.apply(decodeEvent(raw));
        expect(reply.result().parts).toEqual([]);
      }),
      { numRuns: 1_000 },
    );
  });

  it('hurt nothing when single fields of real events are garbage', () => {
    fc.assert(
      fc.property(turn, fc.nat(), fc.anything(), (one, pick, garbage) => {
        const reply = new Reply({ sessionId: one.sessionId, promptMessageId: one.prompt });
        for (const [at, event] of one.events.entries()) {
          const twisted = at === pick % one.events.length ? withGarbage(event, pick, garbage) : event;
          reply.apply(decodeEvent(twisted));
        }
        reply.result();
        reply.usage();
      }),
      { numRuns: 500 },
    );
  });
});

/** The event with one of its fields, at any depth, replaced. */
function withGarbage(event: WireEvent, pick: number, garbage: unknown): unknown {
  const paths: string[][] = [];
  const collect = (value: unknown, path: string[]) => {
    if (typeof value !== 'object' || value === null) return;
    for (const [key, inner] of Object.entries(value)) {
      paths.push([...path, key]);
      collect(inner, [...path, key]);
    }
  };
  collect(event.properties, ['properties']);
  const path = paths[pick % Math.max(1, paths.length)] ?? ['properties'];
  const copy = structuredClone(event) as unknown as Record<string, unknown>;
  const holder = path.slice(0, -1).reduce((inner, key) => inner[key] as Record<string, unknown>, copy);
  holder[path.at(-1) ?? ''] = garbage;
  return copy;
}
