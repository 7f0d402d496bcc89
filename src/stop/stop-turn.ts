import {
  isAmbiguous,
  isWrongAnswer,
  OwnershipLostError,
  SessionNotFoundError,
  StaleSessionError,
  UnsupportedServerError,
} from '../errors.ts';
import type { StopResult } from '../ports/upstream.ts';
import { patiently } from '../run/patience.ts';
import type { TurnRun } from '../run/turn-run.ts';
import { persevere } from '../timing/persevere.ts';
import { TimeLimit, within } from '../timing/time-limit.ts';
import type { PromptIds } from '../turn/phase.ts';
import { takeOverStops } from './open-stops.ts';
import { stopAt } from './stop-at.ts';

/** What of a run is touched here. */
type Run = Pick<
  TurnRun,
  | 'absence'
  | 'conversation'
  | 'deps'
  | 'live'
  | 'own'
  | 'policy'
  | 'signal'
  | 'submission'
  | 'turn'
  | 'upstream'
>;

/** How long the question whose turn it is waits for a database that is away. */
const ownedMs = 30_000;

/**
 * Ends the run of this turn upstream, within about `cancelTimeoutMs` (twice that when it begins late); see `Upstream.stop`.
 * Runs under its own time limits, since the run's signal is aborted already. One that could not be seen to end is
 * reported, and noted in `submission.openStops`, which its caller stores. Throws OwnershipLostError: then the run upstream is
 * somebody else's and was left alone; ServiceUnavailableError when nobody can say.
 *
 * `lost`: of a run that goes on for all that anybody knows, while the turn does: the run's signal ends the stopping, and
 * its reason is thrown then. A server that is away meanwhile is waited for, as long as `ServerAbsence` allows.
 */
export async function stopUpstream(run: Run, ids: PromptIds, { lost = false } = {}): Promise<StopResult> {
  const from = lost ? run.signal : undefined;
  await within(ownedMs, (signal) => run.own.assert(signal), from);
  const { deps, turn, live } = run;
  const children = [...(live.reply?.childSessions().keys() ?? [])];
  const movedAt = () => live.movedAt;
  const timeoutMs = run.policy.limits.cancelTimeoutMs;
  const options = { timeoutMs, children, posted: run.submission.posted, lost, movedAt };
  const stop = () => stopAt(() => run.upstream(ids.server), ids, options, from);
  const result = await (lost ? stopWhileAway(run, stop) : stop());
  if (result.confirmed) return result;
  from?.throwIfAborted();
  run.submission.leaveOpen(ids);
  deps.tracer.event('turn.stop_unconfirmed', { 'turn.epoch': run.own.fence.epoch });
  deps.reporter.report(result.problem, { action: 'turn.stop', severity: 'warning', turnId: turn.id });
  return result;
}

/** Tries for a server that was away for a part of each: one that fails at a single question answers others. */
const maxTriesBack = 3;

/**
 * Stops once more when the server was away: a run that could not be asked to end is not one that does not end. While it is away now there is
 * no end but the run's own; one that came back in the middle had less than its time.
 */
async function stopWhileAway(
  { absence, signal }: Pick<Run, 'absence' | 'signal'>,
  stop: () => Promise<StopResult>,
): Promise<StopResult> {
  for (let triesBack = 0; ; ) {
    const { failures } = absence;
    const result = await stop();
    if (result.confirmed || signal.aborted || absence.failures === failures) return result;
    if (absence.error === undefined) triesBack += 1;
    if (triesBack === maxTriesBack) return result;
  }
}

/**
 * A prompt to a busy session would be swallowed by the running loop, and one to a session whose last run may still
 * begin, too. After a turn of this conversation ended badly something may still run there: it is aborted, since no turn owns
 * it. Throws StaleSessionError when it was not seen to end in time, OwnershipLostError when it is the run of a newer
 * owner of this turn.
 */
export async function waitUntilIdle(run: Run, ids: PromptIds): Promise<void> {
  const upstream = run.upstream(ids.server);
  const { deps, conversation } = run;
  const { cancelTimeoutMs } = run.policy.limits;
  const limit = new TimeLimit(2 * cancelTimeoutMs, run.signal, deps.clock);
  const { signal } = limit;
  const session = { sessionId: ids.sessionId, directory: ids.directory };
  const end = async (stopped: typeof session) => {
    await run.own.assert(signal);
    const result = await upstream.stop(stopped, { timeoutMs: cancelTimeoutMs }, signal);
    if (result.problem instanceof UnsupportedServerError) throw result.problem;
    return result.confirmed;
  };
  try {
    const isOver = (await takeOverStops(deps, conversation.id, ids.sessionId, end, signal)) ?? true;
    const isBusy = () => upstream.isBusy(session, signal);
    if (isOver && !(await persevere(isBusy, patiently(run), signal))) return;
    if (isOver && (await end(session))) return;
  } catch (error) {
    if (error instanceof SessionNotFoundError || error instanceof OwnershipLostError) throw error;
    // Upstream being away is met again, and waited for, by the POST that follows.
    if (run.signal.aborted || isAmbiguous(error) || isWrongAnswer(error)) return;
    if (!limit.passed) throw error;
    throw new StaleSessionError(ids.sessionId, cancelTimeoutMs);
  } finally {
    limit.end();
  }
  throw new StaleSessionError(ids.sessionId, cancelTimeoutMs);
}
