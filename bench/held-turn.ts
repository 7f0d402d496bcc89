import type { StoredTurn, TurnEntry, Turns } from '../src/index.ts';
import { deferred } from '../test/support/deferred.ts';
import { eventually } from '../test/support/eventually.ts';
import type { TestSystem } from '../test/support/system.ts';
import { concatenated, newConversation } from '../test/support/turns.ts';

const said = ['one ', 'two '];
const unsaid = ['three ', 'four'];
/** A directory that the server has not loaded yet takes it seconds. */
const startMs = 60_000;

/** A turn whose model has said a part of its text, and says the rest when it is released. */
export interface HeldTurn {
  readonly id: string;
  readonly said: string;
  readonly whole: string;
  /** What its follower got so far. */
  readonly entries: readonly TurnEntry[];
  /** Requests to the model since it was enqueued. */
  modelRuns(): number;
  stored(): Promise<StoredTurn>;
  /** When (`performance.now`) the first such entry came to the follower. Throws when none came in time. */
  seen(what: (entry: TurnEntry) => boolean, withinMs: number): Promise<number>;
  release(): void;
}

/** Enqueues a turn in a conversation of its own, and waits until its follower has the text up to the gate. */
export async function holdTurn(system: TestSystem, web: Turns): Promise<HeldTurn> {
  const gate = deferred();
  const before = system.model.turnRequests.length;
  system.respond(({ kind }) =>
    kind === 'turn' ? { text: [...said, ...unsaid], gate: gate.promise, gateAt: said.length } : undefined,
  );
  const { id } = await web.enqueue({ conversation: await newConversation(web, 'bench'), text: 'count' });
  const entries: TurnEntry[] = [];
  const times: number[] = [];
  let lost: unknown;
  const follow = async () => {
    for await (const entry of web.follow(id)) {
      times.push(performance.now());
      entries.push(entry);
    }
  };
  follow().catch((error: unknown) => {
    lost = error;
  });
  const turn: HeldTurn = {
    id,
    said: said.join(''),
    whole: [...said, ...unsaid].join(''),
    entries,
    modelRuns: () => system.model.turnRequests.length - before,
    stored: async () => (await web.get(id)) as StoredTurn,
    seen: (what, withinMs) =>
      eventually(() => {
        const at = times[entries.findIndex(what)];
        if (at === undefined) throw new Error(`turn ${id} did not get there`, { cause: lost });
        return at;
      }, withinMs),
    release: () => gate.resolve(),
  };
  await turn.seen(() => concatenated(entries) === turn.said, startMs);
  return turn;
}

/** Waits for the turn's end; throws unless it is stored and was followed as it should be, with one model run. */
export async function expectEnd(turn: HeldTurn, status: string, text: string): Promise<StoredTurn> {
  await turn.seen(({ type }) => type === 'finished', 30_000);
  const stored = await turn.stored();
  const facts = [stored.status, stored.text, concatenated(turn.entries), turn.modelRuns()];
  const expected = [status, text, text, 1];
  if (JSON.stringify(facts) !== JSON.stringify(expected))
    throw new Error(`turn ${turn.id} ended with ${JSON.stringify(facts)}, not ${JSON.stringify(expected)}`);
  return stored;
}
