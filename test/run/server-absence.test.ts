import { describe, expect, it } from '@jest/globals';
import { BadRequestError, ConnectionError, type TurnsError } from '../../src/errors.ts';
import type { OpenCode } from '../../src/opencode/v1/server.ts';
import { ServerAbsence } from '../../src/run/server-absence.ts';
import { manualClock } from '../../src/testing/manual-clock.ts';
import { upstreamOver } from '../support/upstream.ts';

const facts = { method: 'GET', path: '/session/status' };
const place = { sessionId: 'ses_1', directory: '/x' };
const never = new AbortController().signal;
const refused = new ConnectionError('cannot be reached', facts);

/** A server that does what it is told, and a clock that is moved by hand. */
function watched(awayForMs?: number) {
  const log: string[] = [];
  let inherited = awayForMs;
  const clock = manualClock();
  const absence = new ServerAbsence({
    clock,
    limitMs: 100_000,
    awayForMs: () => (inherited === undefined ? undefined : inherited + clock.monotonicMs()),
    onAway: () => log.push('away'),
    onBack: () => {
      inherited = undefined;
      log.push('back');
    },
    onLimit: ({ code }: TurnsError) => log.push(`limit: ${code}`),
  });
  let answer: () => Promise<never> | Promise<object> = async () => ({});
  const client = { server: 'http://x', statuses: () => answer() } as unknown as OpenCode;
  const upstream = upstreamOver(client);
  const watched = absence.watch(upstream);
  const ask = async (outcome?: Error) => {
    answer = async () => {
      if (outcome) throw outcome;
      return {};
    };
    await watched.isBusy(place, never).catch((error: unknown) => expect(error).toBe(outcome));
  };
  return { absence, upstream, watched, log, clock, ask, pass: (ms: number) => clock.jump(ms) };
}

describe('a server', () => {
  it('is away once it has not answered for a second, and back with its first answer, a refusal too', async () => {
    const { absence, log, clock, ask, pass } = watched();
    await ask(refused);
    pass(999);
    expect([log, absence.error]).toEqual([[], refused]);
    pass(1);
    await ask(refused);
    expect(log).toEqual(['away']);
    await ask(new BadRequestError('answered 400', { ...facts, status: 400 }));
    expect([log, absence.error, clock.waiting]).toEqual([['away', 'back'], undefined, 0]);
  });

  it('that answers again at once was never away', async () => {
    const { log, clock, ask, pass } = watched();
    for (let hiccup = 0; hiccup < 50; hiccup += 1) {
      await ask(refused);
      pass(500);
      await ask();
    }
    pass(60_000);
    expect([log, clock.waiting]).toEqual([[], 0]);
  });

  it('that is away for the limit in one piece is told of with its last error', async () => {
    const { log, ask, pass } = watched();
    await ask(refused);
    pass(99_999);
    await ask(new ConnectionError('still', facts));
    pass(1);
    expect(log).toEqual(['away', 'limit: upstream_connection']);
  });

  it('that was away under an earlier owner has what is left of the limit, and a moment at least', async () => {
    for (const [awayForMs, leftMs] of [
      [60_000, 40_000],
      [99_000, 30_000],
      [9_000_000, 30_000],
    ] as const) {
      const { log, ask, pass } = watched(awayForMs);
      await ask(refused);
      pass(leftMs - 1);
      expect(log).toEqual(['away']);
      pass(1);
      expect(log).toEqual(['away', 'limit: upstream_connection']);
    }
  });

  it('that was away under an earlier owner is back with its first answer, and has the whole limit again', async () => {
    const { log, ask, pass } = watched(60_000);
    await ask();
    expect(log).toEqual(['back']);
    await ask(refused);
    pass(99_999);
    expect(log).toEqual(['back', 'away']);
  });

  it('is not told of any more once the turn is over, and no timer is left', async () => {
    const { absence, log, clock, ask, pass } = watched();
    await ask(refused);
    absence.close();
    await ask(refused);
    await ask();
    await ask(refused);
    pass(60_000);
    expect([log, clock.waiting]).toEqual([[], 0]);
  });

  it('is the same one to whoever watches it twice, and keeps its name', () => {
    const { absence, upstream, watched: once } = watched();
    expect(absence.watch(upstream)).toBe(once);
    expect(once.server).toBe('http://x');
  });
});
