import {
  isAmbiguous,
  isWrongAnswer,
  OwnershipLostError,
  SessionNotFoundError,
  StaleSessionError,
  UnsupportedServerError,
} from '../errors.ts';
import { patiently } from '../run/patience.ts';
import type { TurnRun } from '../run/turn-run.ts';
import { persevere } from '../timing/persevere.ts';
import { TimeLimit, within } from '../timing/time-limit.ts';
import { type PromptIds, stopRefOf } from '../turn/phase.ts';
import { takeOverStops } from './open-stops.ts';
import { isBusy } from './session-tree.ts';
import { type StopResult, stopRun, stopRunAt } from './stop-run.ts';

/**
 * How long a posted prompt may take to become a run: after the 204 the session is not busy at once, and the first
 * turn of a directory loads its plugins first.
 */
export const startGraceMs = 20_000;
/** How long the question whose turn it is waits for a database that is away. */
const ownedMs = 30_000;

/**
 * Ends the run of this turn upstream, within about `cancelTimeoutMs` (twice that when it begins late); see `stopRun`.
 * Runs under its own time limits, since the run's signal is aborted already. One that could not be seen to end is
 * reported, and noted in `run.openStops`, which its caller stores. Throws OwnershipLostError: then the run upstream is
 * somebody else's and was left alone; ServiceUnavailableError when nobody can say.
 *
 * `lost`: of a run that goes on for all that anybody knows, while the turn does: the run's signal ends the stopping, and
 * its reason is thrown then.
 */
export async function stopUpstream(run: TurnRun, ids: PromptIds, { lost = false } = {}): Promise<StopResult> {
  const from = lost ? run.signal : undefined;
  await within(ownedMs, (signal) => run.assertOwned(signal), from);
  const { deps, turn } = run;
  const children = [...(run.reply?.childSessions().keys() ?? [])];
  const movedAt = () => run.movedAt;
  const stop = { run: ids, children, clock: deps.clock, posted: run.posted, lost, movedAt };
  const limitMs = run.policy.limits.cancelTimeoutMs;
  const result = await stopRunAt(() => run.upstream(ids.server), stop, limitMs, from);
  if (result.confirmed) return result;
  from?.throwIfAborted();
  noteOpenStop(run, ids);
  deps.tracer.event('turn.stop_unconfirmed', { 'turn.epoch': run.fence.epoch });
  deps.reporter.report(result.problem, { action: 'turn.stop', severity: 'warning', turnId: turn.id });
  return result;
}

/** The run may go on: noted once, and stored by whoever writes next. */
export function noteOpenStop(run: TurnRun, ids: PromptIds): void {
  if (!isOpenStop(run, ids)) run.openStops.push(stopRefOf(ids));
}

/** Whether this turn could not see its run end. */
export function isOpenStop(run: TurnRun, { promptMessageId }: PromptIds): boolean {
  return run.openStops.some((open) => open.promptMessageId === promptMessageId);
}

/**
 * A prompt to a busy session would be swallowed by the running loop, and one to a session whose last run may still
 * begin, too. After a turn of this conversation ended badly something may still run there: it is aborted, since no turn owns
 * it. Throws StaleSessionError when it was not seen to end in time, OwnershipLostError when it is the run of a newer
 * owner of this turn.
 */
export async function waitUntilIdle(run: TurnRun, ids: PromptIds): Promise<void> {
  const { client } = run.upstream(ids.server);
  const { deps, conversation } = run;
  const { cancelTimeoutMs } = run.policy.limits;
  const limit = new TimeLimit(2 * cancelTimeoutMs, run.signal, deps.clock);
  const { signal } = limit;
  const session = { sessionId: ids.sessionId, directory: ids.directory };
  const end = async (stopped: typeof session) => {
    await run.assertOwned(signal);
    const result = await stopRun({ client, run: stopped, clock: deps.clock }, cancelTimeoutMs, signal);
    if (result.problem instanceof UnsupportedServerError) throw result.problem;
    return result.confirmed;
  };
  try {
    const isOver = (await takeOverStops(deps, conversation.id, ids.sessionId, end, signal)) ?? true;
    const read = () => client.statuses(ids.directory, signal);
    const statuses = isOver ? await persevere(read, patiently(run), signal) : {};
    if (isOver && !isBusy(statuses, [ids.sessionId])) return;
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
