import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { StoredTurn, TurnEntry, Turns } from '../../src/index.ts';
import { eventually } from '../support/eventually.ts';
import { startSystem, type TestSystem } from '../support/system.ts';
import { newConversation } from '../support/turns.ts';
import { type EventFault, startUpstreamProxy, type UpstreamProxy } from '../support/upstream-proxy.ts';
import { expectWholeStory } from './promises.ts';
import { sizes } from './sizes.ts';

const text = ['Grüße ', '世界 ', '👩‍🚀 ', 'four ', 'five ', 'six'];
const question = {
  question: 'Which color?',
  header: 'Color',
  options: [{ label: 'Blue', description: 'b' }],
};

/** The names of two turns, for which the model does something else than for the others. */
const slowly = 'mute from its beginning, longer than a first event may take';
const asking = 'without the question';
const shared = 'shared';

let system: TestSystem;
let proxy: UpstreamProxy;
let turns: Turns;
/** All streams are spoilt at the same time: most of this file is waiting. */
const running = new Map<string, Running>();

interface Running {
  readonly id: string;
  readonly entries: readonly TurnEntry[];
  readonly ended: Promise<StoredTurn>;
}

interface Info {
  readonly role?: string;
  readonly title?: string;
}

interface Event {
  readonly type: string;
  readonly properties: { readonly sessionID?: string; readonly info?: Info };
}

const eventOf = (frame: string) => JSON.parse(frame.slice('data: '.length)) as Event;
const isDelta = (frame: string) => eventOf(frame).type === 'message.part.delta';
const without =
  (...types: string[]): EventFault =>
  (wire) =>
  (frame) => {
    if (!types.includes(eventOf(frame).type)) wire.send(frame);
  };

/** Whole up to the second delta of the first stream; then each frame goes to `then`. */
const fromSecondDelta =
  (then: (wire: Parameters<EventFault>[0], frame: string) => void): EventFault =>
  (wire) => {
    let deltas = wire.number > 1 ? Number.NEGATIVE_INFINITY : 0;
    return (frame) => {
      if (isDelta(frame)) deltas += 1;
      if (deltas < 2) wire.send(frame);
      else then(wire, frame);
    };
  };

/** Puts the two events of an idle session in front of the first frame that `when` chooses. */
const idleBefore =
  (when: (event: Event) => boolean): EventFault =>
  (wire) => {
    let told = false;
    return (frame) => {
      const event = eventOf(frame);
      const { sessionID } = event.properties;
      if (!told && sessionID && when(event)) {
        told = true;
        const status = { type: 'session.status', properties: { sessionID, status: { type: 'idle' } } };
        for (const early of [status, { type: 'session.idle', properties: { sessionID } }])
          wire.send(`data: ${JSON.stringify({ id: `evt_early_${early.type}`, ...early })}\n\n`);
      }
      wire.send(frame);
    };
  };

const late =
  (ms: number): EventFault =>
  (wire) =>
  (frame) => {
    setTimeout(() => wire.send(frame), ms);
  };
const perDelay = (name: string, fault: (ms: number) => EventFault) =>
  Object.fromEntries(sizes.lateMs.map((ms) => [`${ms} ms ${name}`, fault(ms)]));

/** Each has the only stream of its directory. */
const ofStreams: Record<string, EventFault> = {
  'cut in the middle of an event': fromSecondDelta((wire, frame) => {
    wire.send(frame.slice(0, frame.length / 2));
    wire.cut();
  }),
  'cut in the middle of an event, again and again': (wire) => {
    let frames = 0;
    return (frame) => {
      frames += 1;
      if (frames < 6 || wire.number > 4) return wire.send(frame);
      wire.send(frame.slice(0, frame.length / 2));
      wire.cut();
    };
  },
  'half open: no event, no heartbeat, no end': fromSecondDelta(() => undefined),
  ...perDelay('late, its beginning too', (ms) => late(ms)),
};

/** All of one directory, in one stream: done to the events of one session. */
const ofSessions: Record<string, EventFault> = {
  'with every event twice': (wire) => (frame) => wire.send(frame, frame),
  mute: fromSecondDelta(() => undefined),
  [slowly]: () => () => undefined,
  'split at every byte': (wire) => (frame) =>
    wire.send(...Array.from(Buffer.from(frame), (byte) => Uint8Array.of(byte))),
  'without session.idle': without('session.idle'),
  'without any sign of the end': without('session.idle', 'session.status', 'message.updated'),
  'with an idle before the answer': idleBefore(
    ({ type, properties }) => type === 'message.updated' && properties.info?.role === 'assistant',
  ),
  'with an idle of the turn before': idleBefore(() => true),
  ...perDelay('late', (ms) => late(ms)),
  [asking]: without('question.asked'),
};

/** Sends each session's events through the fault that its title names; the title comes with the first of them. */
const bySession: EventFault = (wire) => {
  const takes = new Map<string, (frame: string) => void>();
  return (frame) => {
    const { sessionID = '', info } = eventOf(frame).properties;
    const fault = ofSessions[info?.title ?? ''];
    if (fault && !takes.has(sessionID)) takes.set(sessionID, fault(wire));
    (takes.get(sessionID) ?? wire.send)(frame);
  };
};

beforeAll(async () => {
  system = await startSystem();
  proxy = await startUpstreamProxy(system.opencode.url);
  const { password = '' } = system.opencode;
  turns = await system.connect({ opencode: { url: proxy.url, password } });
  const directory = ({ id, title }: { id: string; title: string }) =>
    path.join(system.sandboxRoot, title in ofSessions ? shared : id);
  const policy = { model: 'scripted/scripted', directory };
  const limits = { firstEventTimeoutMs: 8_000 };
  await turns.work({ policies: { default: policy, impatient: { ...policy, limits } } });
  system.respond(({ userText, step }) =>
    userText === asking && step === 0
      ? { tools: [{ name: 'question', input: { questions: [question] } }] }
      : { text, chunkDelayMs: userText === slowly ? 1_800 : 50 },
  );
  proxy.spoil(path.join(system.sandboxRoot, shared), bySession);
  const [first = '', ...others] = Object.keys(ofSessions);
  running.set(first, await start(first));
  // The first turn of a directory waits for its plugins, which is no part of what the others show.
  await running.get(first)?.ended.catch(() => undefined);
  for (const name of others) running.set(name, await start(name));
  for (const [name, fault] of Object.entries(ofStreams)) running.set(name, await start(name, fault));
}, 120_000);
afterAll(async () => {
  await system.stop();
  await proxy.stop();
});

async function start(name: string, fault?: EventFault): Promise<Running> {
  const conversation = await newConversation(turns, name);
  if (fault) proxy.spoil(path.join(system.sandboxRoot, conversation), fault);
  const policy = name === slowly ? 'impatient' : 'default';
  const { id } = await turns.enqueue({ conversation, text: name, policy });
  const entries: TurnEntry[] = [];
  const follow = async () => {
    for await (const entry of turns.follow(id)) entries.push(entry);
    return (await turns.get(id)) as StoredTurn;
  };
  const ended = follow();
  // Whoever fails is told by its own test and by no other.
  ended.catch(() => undefined);
  return { id, entries, ended };
}

const stepsAsked = (name: string) =>
  system.model.turnRequests.filter(({ userText }) => userText === name).map(({ step }) => step);

describe('an event stream', () => {
  it.each([...Object.keys(ofStreams), ...Object.keys(ofSessions).filter((name) => name !== asking)])(
    '%s: the turn completes whole, with one model run, and its followers hear it all once',
    async (name) => {
      const { entries, ended } = running.get(name) as Running;
      const stored = await ended;
      expect(stored).toMatchObject({
        status: 'completed',
        text: text.join(''),
        run: { epoch: 1, reruns: 0, resends: 0 },
      });
      expectWholeStory(entries, stored);
      expect(stepsAsked(name)).toEqual([0]);
    },
    90_000,
  );

  it(`${asking}: it is found, answered, and the turn goes on`, async () => {
    const { id, entries, ended } = running.get(asking) as Running;
    const prompt = await eventually(async () => {
      const [open] = (await turns.get(id))?.requests ?? [];
      if (!open) throw new Error('no prompt yet');
      return open;
    }, 40_000);
    await turns.answer(id, prompt.requestId, { kind: 'question', answers: [['Blue']] });
    const stored = await ended;
    expect(stored).toMatchObject({
      status: 'completed',
      text: text.join(''),
      requests: [{ state: 'answered' }],
    });
    expectWholeStory(entries, stored);
    expect(stepsAsked(asking)).toEqual([0, 1]);
  }, 90_000);
});
