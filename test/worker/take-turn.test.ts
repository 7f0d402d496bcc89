import { beforeEach, describe, expect, it } from '@jest/globals';
import { ServiceUnavailableError, TurnFailedError, UnknownPolicyError } from '../../src/errors.ts';
import { noopMeter } from '../../src/instrumentation/meter.ts';
import { noopTracer, type Tracer } from '../../src/instrumentation/tracer.ts';
import { MemoryConversations } from '../../src/testing/memory-conversations.ts';
import { memoryIds } from '../../src/testing/memory-ids.ts';
import { MemoryJobs } from '../../src/testing/memory-jobs.ts';
import { MemoryTurnStore } from '../../src/testing/memory-turn-store.ts';
import { MemoryTurns } from '../../src/testing/memory-turns.ts';
import { systemClock as clock } from '../../src/timing/clock.ts';
import { compilePolicy } from '../../src/turn/policy.ts';
import type { ClaimDeps } from '../../src/worker/claim-turn.ts';
import { stillWaits, takeTurn } from '../../src/worker/take-turn.ts';

const newId = memoryIds(clock);
const { signal } = new AbortController();
const away = new ServiceUnavailableError('mongodb', 'away');
let store: MemoryTurnStore;
let jobs: MemoryJobs;
let conversationId: string;
let reports: string[];
/** Each span, with what it ended with. */
let spans: unknown[];
let deps: ClaimDeps;

const tracer: Tracer = {
  ...noopTracer,
  span: async (name, options, fn) => {
    const ended = noopTracer.span(name, options, fn);
    spans.push([
      name,
      await ended.then(
        () => 'fine',
        (error) => error,
      ),
    ]);
    return ended;
  },
};

beforeEach(() => {
  const conversations = new MemoryConversations();
  conversationId = newId();
  conversations.add(conversationId, {});
  store = new MemoryTurnStore({ turns: new MemoryTurns(), conversations, clock });
  jobs = new MemoryJobs(clock);
  reports = [];
  spans = [];
  const reporter = { report: (_: unknown, { action }: { action: string }) => void reports.push(action) };
  const policy = (name: string) => {
    if (name !== 'default') throw new UnknownPolicyError(name, ['default']);
    return compilePolicy(name, {});
  };
  deps = {
    store,
    jobs,
    tracer,
    meter: noopMeter,
    clock,
    reporter,
    owner: 'me',
    policy,
    unknownPolicyMs: 600_000,
  } as unknown as ClaimDeps;
});

const create = async (policy = 'default') => {
  const { turn } = await store.create({ conversationId, text: 'x', policy, onBusy: 'enqueue' });
  return turn;
};
const take = (turnId: string, more: Partial<ClaimDeps> = {}) =>
  takeTurn({ ...deps, ...more }, { turnId, attempt: 1 }, signal);
/** The store, whose method of that name fails so. */
const failing = (name: keyof MemoryTurnStore, error: unknown) => ({
  store: new Proxy(store, {
    get: (target, key) => {
      if (key === name) return () => Promise.reject(error);
      const value = Reflect.get(target, key);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  }),
});

const behind = (turnId: string) => ({ kind: 'delay', ms: 1, for: { turnId } }) as const;

describe('a job', () => {
  it('of no turn is complete', async () => {
    expect(await take(newId())).toEqual({ kind: 'complete', status: 'missing' });
    expect([reports, spans]).toEqual([[], []]);
  });

  it('behind another turn is delayed until that one ends, and its span is no error', async () => {
    const [first, second] = [await create(), await create()];
    expect(await take(second.id)).toEqual({ kind: 'delay', ms: 30_000, for: { turnId: first.id } });
    expect(spans).toEqual([['turn.process', 'fine']]);
    expect((await store.get(second.id))?.run.epoch).toBe(0);
    expect(await stillWaits(deps, behind(first.id), second.id)).toBe(true);
    await store.cancel(first.id);
    expect(await stillWaits(deps, behind(first.id), second.id)).toBe(false);
    expect(await stillWaits(deps, behind(newId()), second.id)).toBe(false);
    expect(reports).toEqual([]);
    expect(await stillWaits({ ...deps, ...failing('get', away) }, behind(first.id), second.id)).toBe(true);
    expect(reports).toEqual(['turn.delay']);
  });

  it('whose policy only another worker knows is left to that one, claims nothing and costs nothing', async () => {
    const turn = await create('other');
    const end = await take(turn.id);
    expect(end).toEqual({ kind: 'delay', ms: expect.any(Number) });
    expect(reports).toEqual(['turn.job']);
    expect((await store.get(turn.id))?.run.epoch).toBe(0);
  });

  it('of a turn that is done wakes the next one', async () => {
    const [first, second] = [await create(), await create()];
    await jobs.add(second, true);
    await store.cancel(first.id);
    expect(await take(first.id)).toEqual({ kind: 'complete', status: 'finished' });
    expect(jobs.state(second.id)).toBe('waiting');
  });

  it('of a turn that an owner before has ended as an error has failed, and its span, too', async () => {
    const turn = await create();
    await store.claim(turn, 'one');
    const error = { reason: 'upstream_error', message: 'boom' } as const;
    const end = { status: 'error', error, run: { phase: 'finished' }, durationMs: 1, finishedAt: 2 } as const;
    await store.finish({ turnId: turn.id, epoch: 1 }, end);
    const failed = new TurnFailedError(turn.id, error);
    expect(await take(turn.id)).toEqual({ kind: 'fail', error: failed });
    expect(spans).toEqual([['turn.process', failed]]);
  });

  it.each(['waiting', 'claim'] as const)(
    'comes again when the database is away (%s), and is an attempt when something else is wrong',
    async (method) => {
      const { id } = await create();
      expect(await take(id, failing(method, away))).toEqual({ kind: 'delay', ms: expect.any(Number) });
      expect(reports).toEqual(['turn.giveBack']);
      const bug = new TypeError('a bug');
      await expect(take(id, failing(method, bug))).rejects.toBe(bug);
      expect(reports).toEqual(['turn.giveBack']);
    },
  );
});
