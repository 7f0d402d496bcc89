import { mayPass, SessionNotFoundError } from '../../errors.ts';
import type { StopOptions, StoppedRun, StopResult } from '../../ports/upstream.ts';
import { Exchange } from '../../reply/exchange.ts';
import type { WireMessage } from '../../reply/wire.ts';
import { backoffMs } from '../../timing/backoff.ts';
import { type Clock, delay } from '../../timing/clock.ts';
import { persevere } from '../../timing/persevere.ts';
import { TimeLimit, within } from '../../timing/time-limit.ts';
import type { OpenCode } from './server.ts';
import { areOver, isBusy, sessionsBelow } from './session-tree.ts';

const polls = { firstMs: 30, maxMs: 1_000 };
const retry = { firstMs: 100, maxMs: 1_000, again: mayPass };
/** How long a session that is idle is watched when its messages do not say that all is over. */
const unclearMs = 2_000;
/** From this poll on, some half a second after the first, the messages are asked, too. */
const liesFrom = 4;
/** How long the messages are read for once more, when the run could not be seen to end. */
const lastReadMs = 5_000;

/** A run that is to end, and where. */
interface Stop extends Omit<StopOptions, 'timeoutMs'> {
  readonly client: OpenCode;
  readonly run: StoppedRun;
  readonly clock: Clock;
}

/**
 * Aborts a session and its busy sub-agents, again and again, until none is busy and the messages show an answer that
 * is complete: upstream forgets an abort that comes between an accepted prompt and the start of its run, and leaves an
 * aborted message behind after every one that it heeds (1.18.33). A run that has not begun is waited for, and aborted
 * when it begins, which it is given the time for once more. Never throws, and ends within twice `timeoutMs` and some
 * seconds; `signal` ends it at once, unconfirmed.
 */
export async function stopRun(stop: Stop, timeoutMs: number, signal?: AbortSignal): Promise<StopResult> {
  let limit = new TimeLimit(timeoutMs, signal, stop.clock);
  let idle = false;
  try {
    for (let late = false; ; ) {
      idle = false;
      await abortUntilIdle(stop, limit.signal);
      const messages = await settledMessages(stop, limit.signal);
      idle = true;
      if (!(await begins(stop, messages, limit.signal))) return { messages, idle, confirmed: true };
      if (late) continue;
      late = true;
      limit.end();
      limit = new TimeLimit(timeoutMs, signal, stop.clock);
    }
  } catch (problem) {
    // Deleted while its run went on, and idle by now: there is no message that could tell more.
    if (problem instanceof SessionNotFoundError) return { messages: null, idle, confirmed: true };
    return { messages: await lastMessages(stop, signal), idle, confirmed: false, problem };
  } finally {
    limit.end();
  }
}

async function abortUntilIdle({ client, run, children = [], lost, clock }: Stop, signal: AbortSignal) {
  const { sessionId, directory } = run;
  let sessions: readonly string[] | undefined;
  let overSince: number | undefined;
  for (let attempt = 0; ; attempt += 1) {
    await patiently(clock, signal, () => client.abortSession(sessionId, directory, signal));
    // Upstream aborts sub-agents with their parent, at any depth (1.18.33). What is busy all the same is aborted here.
    sessions ??= await patiently(clock, signal, async () => {
      const below = await sessionsBelow(client, [sessionId], signal);
      return [...new Set([sessionId, ...below.map(({ id }) => id), ...children])];
    });
    if (lost && attempt === 0) await abortThose(children, signal, { client, directory, clock });
    const statuses = await patiently(clock, signal, () => client.statuses(directory, signal));
    const busy = sessions.filter((id) => isBusy(statuses, [id]));
    if (busy.length === 0) return;
    // The messages weigh more than a status that says busy for ever.
    if (attempt >= liesFrom) {
      const over = await patiently(clock, signal, () => areOver(client, busy, signal));
      overSince = over ? (overSince ?? clock.monotonicMs()) : undefined;
      if (overSince !== undefined && clock.monotonicMs() - overSince >= unclearMs) return;
    }
    for (const child of busy.filter((id) => id !== sessionId))
      await patiently(clock, signal, () => client.abortSession(child, directory, signal));
    await delay(backoffMs(attempt, polls), clock, signal);
  }
}

/** Of these sub-agents, those whose messages do not say that they are over. */
async function abortThose(
  children: readonly string[],
  signal: AbortSignal,
  { client, directory, clock }: Pick<Stop, 'client' | 'clock'> & { readonly directory: string },
) {
  for (const child of children) {
    if (await patiently(clock, signal, () => areOver(client, [child], signal))) continue;
    await patiently(clock, signal, () => client.abortSession(child, directory, signal)).catch((error) => {
      if (!(error instanceof SessionNotFoundError)) throw error;
    });
  }
}

/**
 * Whether the session becomes busy after all, although it was idle after an abort: the run had not begun, or only
 * just, and upstream has not heard of the abort. One that upstream has accepted and not begun is waited for until
 * `signal` aborts, which is thrown: nothing but its end proves that it will not begin.
 */
async function begins(
  { client, run, clock, posted = false, lost = false, movedAt = () => 0 }: Stop,
  messages: readonly WireMessage[],
  signal: AbortSignal,
) {
  const since = clock.monotonicMs();
  if (run.promptMessageId === undefined) return false;
  const { begun, inProgress, userMessage } = Exchange.from(messages, run.promptMessageId);
  if (begun && !inProgress) return false;
  // A prompt that is not there may still be on its way: our own POST was cut when the run was stopped. An answer
  // that is not complete is one of a dead server, as a rule.
  const accepted = !lost && (userMessage ? !begun : posted);
  const limit = new TimeLimit(accepted ? Number.POSITIVE_INFINITY : unclearMs, signal, clock);
  try {
    for (let attempt = 0; ; attempt += 1) {
      const statuses = await patiently(clock, limit.signal, () =>
        client.statuses(run.directory, limit.signal),
      );
      if (isBusy(statuses, [run.sessionId]) || movedAt() > since) return true;
      // A short run may have come and gone between two polls.
      if (attempt % 4 === 3 && (await hasBegun({ client, run, clock }, limit.signal))) return true;
      await delay(backoffMs(attempt, polls), clock, limit.signal);
    }
  } catch (error) {
    if (limit.passed) return false;
    throw error;
  } finally {
    limit.end();
  }
}

async function hasBegun({ client, run, clock }: Stop, signal: AbortSignal): Promise<boolean> {
  const messages = await patiently(clock, signal, () => client.messages(run.sessionId, signal));
  const { begun, inProgress } = Exchange.from(messages, run.promptMessageId ?? '');
  return begun && !inProgress;
}

/** The first idle precedes the last update of the message, so it is read again until it is complete. */
async function settledMessages({ client, run, clock }: Stop, signal: AbortSignal) {
  for (let attempt = 0; ; attempt += 1) {
    const messages = await patiently(clock, signal, () => client.messages(run.sessionId, signal));
    const last = messages.at(-1)?.info;
    if (attempt === 5 || last?.role !== 'assistant' || last.time.completed !== undefined) return messages;
    await delay(backoffMs(attempt, polls), clock, signal);
  }
}

/** The partial reply is kept either way. */
async function lastMessages({ client, run, clock }: Stop, signal: AbortSignal | undefined) {
  const read = (limit: AbortSignal) =>
    patiently(clock, limit, () => client.messages(run.sessionId, limit)).catch(() => null);
  return within(lastReadMs, read, signal, clock);
}

/** One lost connection must not leave a run upstream that nobody owns. Only for calls that may be made twice. */
function patiently<T>(clock: Clock, signal: AbortSignal, ask: () => Promise<T>): Promise<T> {
  return persevere(ask, { ...retry, clock }, signal);
}
