import { isAmbiguous, LeaseLostError, SessionNotFoundError, StaleSessionError } from '../errors.ts';
import { Exchange } from '../reply/exchange.ts';
import type { WireMessage } from '../reply/wire.ts';
import { backoffMs } from '../timing/backoff.ts';
import { delay } from '../timing/clock.ts';
import { persevere } from '../timing/persevere.ts';
import { TimeLimit, within } from '../timing/time-limit.ts';
import { isBusy, sessionsBelow } from './family.ts';
import type { OpenCode } from './ports.ts';
import type { PromptIds } from './turn-phase.ts';
import type { TurnRun } from './turn-run.ts';

const looks = { firstMs: 30, maxMs: 1_000 };
const retry = { firstMs: 100, maxMs: 1_000, again: isAmbiguous };
/**
 * How long a posted prompt may take to become a run: after the 204 the session is not busy at once, and the first
 * turn of a directory loads its plugins first.
 */
export const startGraceMs = 20_000;
/** How long a session that is idle is watched when its messages do not say that all is over. */
const unclearMs = 2_000;
/** How often one run is aborted that does not heed it. */
const maxAborts = 20;
/** How long the question whose turn it is waits for a database that is away. */
const ownedMs = 30_000;

/**
 * Aborts a session and its busy sub-agents and waits until none is busy, at most `cancelTimeoutMs`. An abort that
 * comes before a posted prompt's run begins is lost, so that run is waited for, at most `startGraceMs`, and aborted
 * again. Answers the messages as they are then, or null when upstream could not be asked: the partial reply is kept
 * either way. Runs under its own time limits, since the run's signal is aborted already. Throws LeaseLostError: then
 * the run upstream is somebody else's and was left alone; ServiceUnavailableError when nobody can say.
 */
export async function stopUpstream(run: TurnRun, ids: PromptIds): Promise<readonly WireMessage[] | null> {
  await within(ownedMs, (signal) => run.assertOwned(signal));
  const { client } = run.upstream(ids.server);
  try {
    for (let aborts = 1; ; aborts += 1) {
      const messages = await abortAndRead(run, client, ids);
      if (aborts === maxAborts || !(await goesOn(run, client, ids, messages))) return messages;
    }
  } catch (error) {
    // Deleted while its run went on: the abort is all that can be done.
    if (error instanceof SessionNotFoundError) return null;
    run.deps.reporter.report(error, { action: 'turn.stop', severity: 'warning', turnId: run.turn.id });
    return null;
  }
}

async function abortAndRead(run: TurnRun, client: OpenCode, ids: PromptIds): Promise<readonly WireMessage[]> {
  const signal = AbortSignal.timeout(run.policy.limits.cancelTimeoutMs);
  await patiently(run, signal, () => client.abortSession(ids.sessionId, ids.directory, signal));
  // Upstream aborts sub-agents with their parent, at any depth (1.18.33). What is busy all the same is aborted here.
  const below = await patiently(run, signal, () => sessionsBelow(client, [ids.sessionId], signal));
  const told = run.reply?.childSessions().keys() ?? [];
  const family = [...new Set([ids.sessionId, ...below.map(({ id }) => id), ...told])];
  const statuses = await patiently(run, signal, () => client.statuses(ids.directory, signal));
  for (const child of family.slice(1).filter((id) => isBusy(statuses, [id])))
    await patiently(run, signal, () => client.abortSession(child, ids.directory, signal));
  await becomeIdle(run, client, ids, family, signal);
  return settledMessages(run, client, ids, signal);
}

/**
 * Whether the session becomes busy after all, although it was idle after an abort: the run had not begun, or only
 * just, and upstream has not heard of the abort (1.18.33 forgets one that comes while a run is being set up).
 */
async function goesOn(
  run: TurnRun,
  client: OpenCode,
  ids: PromptIds,
  messages: readonly WireMessage[],
): Promise<boolean> {
  const { begun, inProgress, userMessage } = Exchange.from(messages, ids.promptMessageId);
  if (begun && !inProgress) return false;
  const { clock } = run.deps;
  // A prompt that is not there may still be on its way: our own POST was cut when the run was stopped. An answer
  // that is not complete is one of a dead server, as a rule.
  const limit = new TimeLimit(userMessage && !begun ? startGraceMs : unclearMs, undefined, clock);
  try {
    for (let attempt = 0; ; attempt += 1) {
      const statuses = await patiently(run, limit.signal, () => client.statuses(ids.directory, limit.signal));
      if (isBusy(statuses, [ids.sessionId])) return true;
      await delay(backoffMs(attempt, looks), clock, limit.signal);
    }
  } catch (error) {
    if (limit.passed) return false;
    throw error;
  } finally {
    limit.end();
  }
}

/** One lost connection must not leave a run upstream that nobody owns. Only for calls that may be made twice. */
function patiently<T>(run: TurnRun, signal: AbortSignal, ask: () => Promise<T>): Promise<T> {
  return persevere(ask, { ...retry, clock: run.deps.clock }, signal);
}

/**
 * A prompt to a busy session would be swallowed by the running loop. After a turn of this record ended badly
 * something may still run there: it is aborted, since no turn owns it. Throws StaleSessionError when it does
 * not end in time, LeaseLostError when it is the run of a newer owner of this turn.
 */
export async function waitUntilIdle(run: TurnRun, ids: PromptIds): Promise<void> {
  const { client } = run.upstream(ids.server);
  const { cancelTimeoutMs } = run.policy.limits;
  const limit = new TimeLimit(cancelTimeoutMs, run.signal, run.deps.clock);
  const { signal } = limit;
  try {
    if ((await client.statuses(ids.directory, signal))[ids.sessionId] === undefined) return;
    await run.assertOwned();
    await client.abortSession(ids.sessionId, ids.directory, signal);
    await becomeIdle(run, client, ids, [ids.sessionId], signal);
  } catch (error) {
    if (error instanceof SessionNotFoundError || error instanceof LeaseLostError) throw error;
    // Upstream being away is met again, and waited for, by the POST that follows.
    if (run.signal.aborted || isAmbiguous(error)) return;
    throw new StaleSessionError(ids.sessionId, cancelTimeoutMs);
  } finally {
    limit.end();
  }
}

async function becomeIdle(
  run: TurnRun,
  client: OpenCode,
  ids: PromptIds,
  family: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  for (let attempt = 0; ; attempt += 1) {
    const statuses = await patiently(run, signal, () => client.statuses(ids.directory, signal));
    if (!isBusy(statuses, family)) return;
    await delay(backoffMs(attempt, looks), run.deps.clock, signal);
  }
}

/** The first idle precedes the last update of the message, so it is read again until it is complete. */
async function settledMessages(
  run: TurnRun,
  client: OpenCode,
  ids: PromptIds,
  signal: AbortSignal,
): Promise<readonly WireMessage[]> {
  for (let attempt = 0; ; attempt += 1) {
    const messages = await patiently(run, signal, () => client.messages(ids.sessionId, signal));
    const last = messages.at(-1)?.info;
    if (attempt === 5 || last?.role !== 'assistant' || last.time.completed !== undefined) return messages;
    await delay(backoffMs(attempt, looks), run.deps.clock, signal);
  }
}
