import { afterAll, beforeAll, expect, it } from '@jest/globals';
import type { ModelRequest, Step } from '../../../dev/scripted-model/script.ts';
import type { StoredTurn, Turns } from '../../../src/index.ts';
import { deferred } from '../../support/deferred.ts';
import { eventually } from '../../support/eventually.ts';
import { startSystem, type TestSystem } from '../../support/system.ts';
import { concatenated } from '../../support/turns.ts';
import { killing } from '../killing.ts';
import { Lane } from '../lane.ts';
import type { LaneTurn } from '../lane-turn.ts';
import { type Attempt, tryPoints } from '../matrix.ts';
import { expectSteps, expectWholeStory } from '../promises.ts';
import { sizes } from '../sizes.ts';

interface Wish {
  readonly script: (request: ModelRequest) => Step;
  /** Throws until the turn has come so far that it can be wished. */
  readonly ready: (turn: LaneTurn) => void;
  readonly make: (turns: Turns, turn: LaneTurn) => Promise<unknown>;
  /** What the turn is in the end. */
  readonly end: object;
  readonly modelSteps: number;
}

const question = {
  question: 'Which color?',
  header: 'Color',
  options: [{ label: 'Blue', description: 'as the sky' }],
};
const openRequest = ({ entries }: LaneTurn) => {
  const entry = entries.find(({ type }) => type === 'request');
  if (entry?.type !== 'request') throw new Error('nothing is asked yet');
  return entry.request.requestId;
};

const wishes: Record<string, Wish> = {
  cancel: {
    script: () => ({ text: ['some ', 'text ', 'never sent'], gate: deferred().promise, gateAt: 2 }),
    ready: ({ entries }) => expect(concatenated(entries)).toBe('some text '),
    make: (turns, { id }) => turns.cancel(id),
    end: { status: 'cancelled', text: 'some text ' },
    modelSteps: 1,
  },
  answer: {
    script: ({ step, messages }) =>
      step === 0
        ? { tools: [{ name: 'question', input: { questions: [question] } }] }
        : { text: [/Blue/.test(JSON.stringify(messages.at(-1))) ? 'It is blue.' : 'It is not told.'] },
    ready: openRequest,
    make: (turns, turn) =>
      turns.answer(turn.id, openRequest(turn), { kind: 'question', answers: [['Blue']] }),
    end: { status: 'completed', text: 'It is blue.', requests: [{ state: 'answered' }] },
    modelSteps: 2,
  },
};

let system: TestSystem;
let lanes: Lane[];

beforeAll(async () => {
  system = await startSystem();
  lanes = await Promise.all(Array.from({ length: sizes.lanes }, (_, at) => Lane.open(system, `wish${at}`)));
}, 90_000);
afterAll(async () => {
  await Promise.all(lanes.map((lane) => lane.close()));
  await system.stop();
});

/** Wished by the web app while the turn runs; its worker is killed at a message that comes after. */
const killAfter = ({ ready, make, end, modelSteps }: Wish): Attempt =>
  killing(
    async (lane, trap) => {
      const turn = await lane.turn({ ...trap, number: Number.POSITIVE_INFINITY });
      await eventually(() => ready(turn), 30_000);
      lane.proxy.arm(trap);
      await make(lane.turns, turn);
      return turn;
    },
    async (lane, turn) => {
      const stored = (await lane.turns.get(turn.id)) as StoredTurn;
      expect(stored).toMatchObject({ ...end, run: { reruns: 0, resends: 0 } });
      expectWholeStory(turn.entries, stored);
      expectSteps(system, turn.marker, modelSteps);
      await lane.expectNothingLeft(stored);
    },
  );

it.each(Object.entries(wishes))(
  'a worker killed at any message after a wish (%s): it comes true, once, and nothing runs on',
  async (name, wish) => {
    system.respond(wish.script);
    await tryPoints(`${name} matrix`, lanes, killAfter(wish), { atLeast: 10, tries: sizes.killPoints });
  },
  3_600_000,
);
