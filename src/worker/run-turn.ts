import {
  CorruptTurnError,
  isRetryable,
  isTurnsError,
  NewerVersionError,
  ServiceUnavailableError,
} from '../errors.ts';
import { endingOf, marked, stoppedEnding } from '../finish/ending.ts';
import { finishTurn, interruptedOutcome } from '../finish/finish-turn.ts';
import type { Ending } from '../finish/terminal-write.ts';
import type { Exchange } from '../reply/exchange.ts';
import { watchControl } from '../run/control.ts';
import type { TurnDeps } from '../run/deps.ts';
import { TurnRun } from '../run/turn-run.ts';
import { stopUpstream } from '../stop/stop-turn.ts';
import { reachPrompt } from '../submit/submit-prompt.ts';
import { within } from '../timing/time-limit.ts';
import type { TurnConversation } from '../turn/conversation.ts';
import { corruption, withoutRun } from '../turn/corrupt-turn.ts';
import { failureOfError, turnFailure } from '../turn/failure.ts';
import type { TurnOutcome } from '../turn/outcome.ts';
import { type PromptIds, promptIds } from '../turn/phase.ts';
import type { CompiledPolicy } from '../turn/policy.ts';
import type { StoredTurn } from '../turn/stored-turn.ts';
import { fullExchange } from '../watch/full-exchange.ts';
import { TurnWatch, type WatchEnd } from '../watch/turn-watch.ts';
import { followThrough } from './follow-through.ts';

/** How long a worker that leaves waits for a database that is away. */
const letGoMs = 2_000;

/**
 * Carries one claimed turn to its end, from whatever phase it is in. Never throws for anything that upstream,
 * a service or a hook does: every path ends in one outcome. `signal` aborts with TurnAbortError `shutdown` or
 * `ownership-lost`: the turn is then let go as it is, and its upstream run goes on for the next owner.
 */
export async function runTurn(
  deps: TurnDeps,
  policy: CompiledPolicy,
  turn: StoredTurn,
  conversation: TurnConversation,
  signal: AbortSignal,
): Promise<TurnOutcome> {
  const problem = corruption(turn);
  const run = new TurnRun(deps, policy, problem ? withoutRun(turn) : turn, conversation, signal);
  const watch = new TurnWatch(run);
  try {
    return await carry(run, watch, problem);
  } catch (error) {
    return await endBadly(run, watch, error);
  } finally {
    await run.close();
  }
}

async function carry(run: TurnRun, watch: TurnWatch, problem: string | undefined): Promise<TurnOutcome> {
  const { turn } = run;
  if (turn.run.cancelRequestedAt !== undefined) run.stopSwitch.stop('user');
  if (run.policy.ends !== undefined) run.stopSwitch.stop('deadline', run.policy.ends);
  await run.live.open();
  if (problem !== undefined) throw new CorruptTurnError(turn.id, problem);
  watchControl(run, (stored) => watch.inputRequests?.deliver(stored));
  run.signal.throwIfAborted();

  const phase = { 'turn.phase': turn.run.phase };
  const first = await run.step('turn.prompt', phase, () => reachPrompt(run, watch));
  const { end, ids } = await run.step('turn.stream', {}, () => followThrough(run, watch, first));
  // A run may be over sooner than it is known who allowed what it did.
  await watch.inputRequests?.approvals.judged();
  if (run.stopSwitch.reason?.reason === 'answered-elsewhere') throw run.stopSwitch.reason;
  return run.step('turn.finalize', {}, () => conclude(run, watch, ids, end));
}

/** The second session, too. */
const unusable = { gone: 'session_not_found', stale: 'session_stale' } as const;

async function conclude(run: TurnRun, watch: TurnWatch, ids: PromptIds, end: WatchEnd): Promise<TurnOutcome> {
  const { deps } = run;
  const { inputRequests } = watch;
  if (!('exchange' in end)) {
    const detail = 'the upstream session is of no use, a new one neither';
    const error = turnFailure(unusable[end.kind], { detail });
    return finishTurn(run, {
      ending: marked({ status: 'error', error }, !run.submission.isLeftOpen(ids)),
      ids,
      exchange: undefined,
      inputRequests,
    });
  }
  const exchange = await fullExchange(run, ids, end.exchange.messages);
  deps.tracer.event('opencode.stream.completed', { 'stream.end': end.kind });
  if (end.kind === 'failed') {
    const { name, reason, statusCode } = end.failure;
    deps.tracer.event('opencode.response.upstream_error', {
      'error.type': name,
      'turn.reason': reason,
      'http.response.status_code': statusCode,
    });
  }
  const ending = marked(await endingOf(run, ids, end), !run.submission.isLeftOpen(ids));
  return finishTurn(run, { ending, ids, exchange, inputRequests });
}

/** Everything that is not a normal end: stopped, let go, or failed. */
async function endBadly(run: TurnRun, watch: TurnWatch, error: unknown): Promise<TurnOutcome> {
  try {
    if (run.stopSwitch.mustLetGo(error)) return await letGo(run, error);
    if (!run.stopSwitch.reason) {
      run.deps.tracer.event('opencode.response.error', { 'error.type': codeOf(error) });
      run.deps.reporter.report(error, { action: 'turn', turnId: run.turn.id });
      // A newer release has stored something behind our claim: its worker goes on with the turn.
      if (error instanceof ServiceUnavailableError || error instanceof NewerVersionError)
        return interruptedOutcome(run, 'service-unavailable', error);
    }
    // What went wrong may be ours; a run that goes on upstream would have no owner.
    const { exchange, confirmed } = await stopAndRead(run, watch);
    const ending = marked(badEnding(run, error), confirmed);
    return await finishTurn(run, {
      ending,
      ids: run.submission.ids,
      exchange,
      inputRequests: watch.inputRequests,
    });
  } catch (problem) {
    if (isLeft(run, problem)) return leave(run, problem);
    return endAlone(run, error, problem);
  }
}

/**
 * What failed on the way to the end will not pass: it would fail the next owner, and each one after him, and the turn
 * would come again for ever, past its time limit and past a cancel. So the end is written without another question to upstream;
 * what may run there is the sweeper's.
 */
async function endAlone(run: TurnRun, error: unknown, problem: unknown): Promise<TurnOutcome> {
  run.deps.reporter.report(problem, { action: 'turn.end', turnId: run.turn.id });
  const ids = run.submission.ids ?? promptIds(run.turn.run);
  if (ids) run.submission.leaveOpen(ids);
  const ending = marked(badEnding(run, error), ids === undefined);
  try {
    const { artifacts } = run.turn;
    return await finishTurn(run, { ending, ids, exchange: undefined, inputRequests: undefined, artifacts });
  } catch (again) {
    return leave(run, again);
  }
}

const badEnding = ({ stopSwitch: { reason } }: TurnRun, error: unknown): Ending =>
  reason ? stoppedEnding(reason) : { status: 'error', error: failureOfError(error) };

/** Another owner is there, or may do better. */
const isLeft = (run: TurnRun, problem: unknown) =>
  run.stopSwitch.mustLetGo(problem) || isRetryable(problem) || problem instanceof NewerVersionError;

async function leave(run: TurnRun, problem: unknown): Promise<TurnOutcome> {
  if (run.stopSwitch.mustLetGo(problem)) return letGo(run, problem);
  run.deps.reporter.report(problem, { action: 'turn.end', turnId: run.turn.id });
  return interruptedOutcome(run, 'service-unavailable', problem);
}

/** Aborts what runs upstream for this turn, if anything does, and reads what is there. */
async function stopAndRead(
  run: TurnRun,
  watch: TurnWatch,
): Promise<{ exchange: Exchange | undefined; confirmed: boolean }> {
  const ids = run.submission.ids ?? promptIds(run.turn.run);
  if (!ids) return { exchange: undefined, confirmed: true };
  run.submission.isAt(ids);
  // Stopped before it was followed: what the owner before us had said and asked ends with this turn.
  if (!run.live.reply) watch.prepare(ids);
  const { messages, confirmed } = await stopUpstream(run, ids);
  return { exchange: messages ? await fullExchange(run, ids, messages) : undefined, confirmed };
}

/** Another owner comes, or is there: followers keep what they have, and nothing upstream is touched. */
async function letGo(run: TurnRun, cause: unknown): Promise<TurnOutcome> {
  if (run.stopSwitch.reason?.reason !== 'shutdown') return interruptedOutcome(run, 'ownership-lost', cause);
  await run.live.followers.flush();
  await within(letGoMs, (signal) => run.own.write(run.live.autosave.patch(), signal)).catch((error) => {
    run.deps.reporter.report(error, { action: 'turn.letGo', severity: 'warning', turnId: run.turn.id });
  });
  return interruptedOutcome(run, 'shutdown');
}

const codeOf = (error: unknown) => (isTurnsError(error) ? error.code : 'internal');
