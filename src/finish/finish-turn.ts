import type { FileRef } from '../artifacts/attachment.ts';
import type { Exchange } from '../reply/exchange.ts';
import type { TurnRun } from '../run/turn-run.ts';
import { within } from '../timing/time-limit.ts';
import { publicFailure, type TurnEnd } from '../turn/entry.ts';
import { turnFailure } from '../turn/failure.ts';
import type { TurnOutcome } from '../turn/outcome.ts';
import type { PromptIds } from '../turn/phase.ts';
import type { TerminalPatch } from '../turn/stored-turn.ts';
import type { InputRequests } from '../watch/input-requests.ts';
import { announce } from './announce.ts';
import { attachArtifacts, attachedFiles } from './attach-files.ts';
import { type Ending, noUsage, storeEnd, terminalPatch, terminalWriteMs } from './terminal-write.ts';

export interface Finish {
  readonly ending: Ending;
  readonly ids: PromptIds | undefined;
  readonly exchange: Exchange | undefined;
  readonly inputRequests: InputRequests | undefined;
  /** Told as they are: nobody is asked for what is attached. */
  readonly artifacts?: readonly FileRef[];
}

/**
 * Writes the end of a turn: its files if there are any, the reply before them, then the terminal state by
 * compare-and-set, then the followers' last entry, then the host's hooks. A crash between any two is made good by
 * the next owner, except for the hooks: they run at most once. Throws OwnershipLostError, ServiceUnavailableError.
 */
export async function finishTurn(run: TurnRun, finish: Finish): Promise<TurnOutcome> {
  const { deps } = run;
  if (finish.exchange) recover(run, finish.exchange);
  await finish.inputRequests?.closeAll();

  const artifacts = finish.artifacts ?? (await artifactsOf(run, finish));
  // What followers lack yet comes with the end, in one step.
  const terminal = await storeEnd(run, terminalPatch(run, finish.ending, artifacts));
  if (!terminal) return interruptedOutcome(run, 'ownership-lost');

  if (terminal.parts) run.live.followers.settle(terminal.parts);
  await tellEnd(run, terminal);
  const outcome = outcomeOf(run, finish, terminal);
  await announce(deps, { policy: run.policy, outcome, exchange: finish.exchange }, run.letGo);
  return outcome;
}

async function artifactsOf(run: TurnRun, { ending, ids, exchange }: Finish): Promise<readonly FileRef[]> {
  if (ending.status === 'completed' && exchange && ids)
    return attachArtifacts(run, ids, exchange, () => noteFinalizing(run));
  // An owner before us may have attached some and died.
  return run.turn.run.phase === 'finalizing' ? attachedFiles(run) : run.turn.artifacts;
}

/** The reply is safe before its files are: a turn without any goes to its end in one write. */
async function noteFinalizing(run: TurnRun): Promise<void> {
  run.live.followers.add({ type: 'progress', progress: 'finalizing' });
  const patch = { ...run.live.autosave.patch(), run: { phase: 'finalizing' as const } };
  await within(terminalWriteMs, (signal) => run.own.write(patch, signal));
}

/** The polled exchange is the truth; what the stream failed to tell is told now. */
function recover({ live, deps }: TurnRun, exchange: Exchange): void {
  const { reply } = live;
  if (reply?.result().parts.length === 0 && exchange.parts.length > 0)
    deps.tracer.event('opencode.response.recovered_from_exchange', { 'parts.count': exchange.parts.length });
  reply?.syncRecoveredParts(exchange);
}

/** Nothing terminal is written: the turn stays pending for its next owner. */
export function interruptedOutcome(
  run: TurnRun,
  reason: Extract<TurnOutcome, { status: 'interrupted' }>['reason'],
  cause?: unknown,
): TurnOutcome {
  return { status: 'interrupted', turnId: run.turn.id, reason, ...(cause === undefined ? {} : { cause }) };
}

/** The end is durable already: a follower that misses this entry finds it in the stored turn. */
async function tellEnd(run: TurnRun, terminal: TerminalPatch): Promise<void> {
  const { deps } = run;
  const traceId = deps.tracer.traceId();
  const { status, text = '', error, notice, usage, durationMs, timeToFirstTokenMs } = terminal;
  const end: TurnEnd = {
    status,
    text,
    durationMs,
    ...(usage ? { usage } : {}),
    ...(error ? { error: publicFailure(error) } : {}),
    ...(notice ? { notice } : {}),
    ...(timeToFirstTokenMs === undefined ? {} : { timeToFirstTokenMs }),
    ...(traceId === undefined ? {} : { traceId }),
  };
  try {
    await run.live.followers.end(end);
  } catch (problem) {
    deps.reporter.report(problem, { action: 'turn.tellEnd', severity: 'warning', turnId: run.turn.id });
  }
}

function outcomeOf(
  run: TurnRun,
  { ids }: Finish,
  terminal: TerminalPatch,
): Exclude<TurnOutcome, { status: 'interrupted' }> {
  const result = {
    turnId: run.turn.id,
    conversationId: run.conversation.id,
    sessionId: ids?.sessionId,
    text: terminal.text ?? '',
    usage: terminal.usage ?? noUsage,
    artifacts: terminal.artifacts ?? [],
    durationMs: terminal.durationMs,
    timeToFirstTokenMs: terminal.timeToFirstTokenMs,
    ...(terminal.notice ? { notice: terminal.notice } : {}),
  };
  const { status, error } = terminal;
  if (status === 'completed') return { status, ...result };
  if (status === 'cancelled') return { status, ...(error ? { error } : {}), ...result };
  return { status: 'error', error: terminal.error ?? turnFailure('internal'), ...result };
}
