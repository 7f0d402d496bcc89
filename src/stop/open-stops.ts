import { LockHeldError } from '../errors.ts';
import type { ErrorReporter } from '../instrumentation/error-reporter.ts';
import type { Lock } from '../ports/lock.ts';
import type { OpenStop, StopStore } from '../ports/stop-store.ts';
import type { StopResult, Upstream } from '../ports/upstream.ts';
import { sessionLock } from '../session/session.ts';
import type { Clock } from '../timing/clock.ts';
import type { StopRef } from '../turn/stored-turn.ts';
import { stopAt } from './stop-at.ts';

/** What is needed to go on with stops of which nobody knows whether they held. */
export interface StopDeps {
  readonly stops: StopStore;
  readonly lock: Lock;
  readonly upstream: (server?: string) => Upstream;
  readonly clock: Clock;
  readonly reporter: ErrorReporter;
}

/** Open stops looked at in one sweep, those that have waited longest first. */
const batch = 20;
/** How long one sweep goes on; the sweeper has other chores. */
const sweepMs = 30_000;
/** How long one of them is tried in one sweep. */
const tryMs = 4_000;
/** A run that has not begun so long after its turn ended will not: a start takes seconds. */
const neverBeginsMs = 10 * 60_000;
/** After this, a run that heeds no abort is told and left. */
const giveUpMs = 24 * 3_600_000;

/**
 * Aborts runs that could not be seen to end when their turn ended, until they are. Each under its conversation's lock, so that
 * a later turn of the conversation, which takes over what is open before it prompts, is never hit. Returns how many were
 * closed; errors are reported per turn. Throws what the store throws.
 */
export async function retryStops(deps: StopDeps): Promise<number> {
  const { clock, stops, reporter } = deps;
  const since = clock.monotonicMs();
  let closed = 0;
  for (const open of await stops.open({ limit: batch })) {
    if (clock.monotonicMs() - since > sweepMs) break;
    try {
      const retry = (lease: AbortSignal) => retryAll(deps, open.turnId, lease);
      closed += await deps.lock.run(sessionLock(open.conversationId), retry);
    } catch (error) {
      // Held: the conversation's next turn is about to take it over.
      if (!(error instanceof LockHeldError))
        reporter.report(error, { action: 'sweeper.stop', severity: 'warning', turnId: open.turnId });
      // Whatever keeps it from being tried must not keep those behind it waiting, too.
      await stops.tried(open.turnId);
    }
  }
  return closed;
}

/** Read again under the lock: a later turn may have closed them, and runs in that session now. */
async function retryAll(deps: StopDeps, turnId: string, lease: AbortSignal): Promise<number> {
  const { stops } = deps;
  let closed = 0;
  for (const open of await stops.open({ turnId, limit: 1 })) {
    if (open.stops.length === 0) await stops.close(turnId);
    for (const run of open.stops) {
      lease.throwIfAborted();
      // One whose server is not configured here stays open: another worker may know it.
      const result = await stopAt(() => deps.upstream(run.server), run, { timeoutMs: tryMs }, lease);
      if (result.confirmed || isHopeless(deps, open, result)) {
        await stops.close(turnId, run);
        closed += 1;
      } else await stops.tried(turnId);
    }
  }
  return closed;
}

function isHopeless({ clock, reporter }: StopDeps, open: OpenStop, { idle, problem }: StopResult): boolean {
  const ageMs = clock.now() - open.since;
  if (idle && ageMs > neverBeginsMs) return true;
  if (ageMs <= giveUpMs) return false;
  reporter.report(problem, { action: 'sweeper.stop', turnId: open.turnId });
  return true;
}

/**
 * Ends what earlier turns may have left running in a session, before a prompt goes there: `end` is called for each of
 * them under the conversation's lock, and what it returns true for is closed. Undefined when nothing was open, false when
 * something is. Throws what the lock, the store and `end` throw.
 */
export async function takeOverStops(
  { stops, lock }: Pick<StopDeps, 'stops' | 'lock'>,
  conversationId: string,
  sessionId: string,
  end: (run: StopRef) => Promise<boolean>,
  signal: AbortSignal,
): Promise<boolean | undefined> {
  const ofSession = async () =>
    (await stops.open({ conversationId, sessionId, limit: batch })).flatMap((open) =>
      open.stops.filter((run) => run.sessionId === sessionId).map((run) => ({ run, turnId: open.turnId })),
    );
  if ((await ofSession()).length === 0) return undefined;
  return lock.run(
    sessionLock(conversationId),
    async () => {
      for (const { run, turnId } of await ofSession()) {
        if (!(await end(run))) return false;
        await stops.close(turnId, run);
      }
      return true;
    },
    signal,
  );
}
