import type { FileRef } from '../artifacts/attachment.ts';
import { byteBudget, maxSentenceBytes } from '../bounds/byte-budget.ts';
import { cutText, jsonBytes } from '../bounds/cut-text.ts';
import { isRetryable, OwnershipLostError } from '../errors.ts';
import type { Usage } from '../reply/part.ts';
import type { TurnRun } from '../run/turn-run.ts';
import { within } from '../timing/time-limit.ts';
import { failureOfError } from '../turn/failure.ts';
import type { RunState, TerminalPatch, TurnFailure, TurnNotice } from '../turn/stored-turn.ts';

/** What of a run is touched here. */
type Run = Pick<TurnRun, 'deps' | 'live' | 'own' | 'policy' | 'startedAt' | 'submission' | 'turn'>;

/** How long each of the last writes waits for a database that is away, once the turn itself may wait no longer. */
export const terminalWriteMs = 60_000;

export type Ending =
  | { readonly status: 'completed'; readonly notice?: TurnNotice | undefined }
  | { readonly status: 'cancelled'; readonly error?: TurnFailure }
  | { readonly status: 'error'; readonly error: TurnFailure };

const noTokens = { input: 0, output: 0, reasoning: 0, cacheRead: 0, cacheWrite: 0 };
export const noUsage: Usage = { ...noTokens, cost: 0, steps: 0, children: { cost: 0, tokens: noTokens } };

/** The terminal state, within the budget of bytes. */
export function terminalPatch(run: Run, ending: Ending, artifacts: readonly FileRef[]): TerminalPatch {
  const now = run.own.now();
  const patch = run.live.autosave.patch();
  const text = patch.text || (ending.status === 'error' ? fallbackText(run) : '');
  const { firstTokenAt } = run.live;
  return {
    ...patch,
    run: { ...patch.run, phase: 'finished', ...openStopsOf(run) },
    status: ending.status,
    text,
    usage: patch.usage ?? run.turn.usage ?? noUsage,
    artifacts: fittedList(artifacts, byteBudget.artifacts),
    finishedAt: now,
    durationMs: Math.max(0, now - run.startedAt),
    ...(firstTokenAt === undefined ? {} : { timeToFirstTokenMs: Math.max(0, firstTokenAt - run.startedAt) }),
    ...('error' in ending && ending.error ? { error: fittedFailure(ending.error) } : {}),
    ...(ending.status === 'completed' && ending.notice ? { notice: ending.notice } : {}),
  };
}

/** What the sweeper, or the conversation's next turn, has to go on with. */
export function openStopsOf({
  own,
  submission,
}: Pick<Run, 'own' | 'submission'>): Pick<RunState, 'openStops' | 'stopTriedAt'> {
  const { openStops } = submission;
  return openStops.length === 0 ? {} : { openStops, stopTriedAt: own.now() };
}

/**
 * Stores the end and answers what was stored; undefined when another end was first. What the database refuses for good
 * would be refused to every owner after us: then the turn ends by its state alone, as `turn_too_large` or with the
 * refusal's code, unless it had failed or was stopped anyway. Throws OwnershipLostError, ServiceUnavailableError.
 */
export async function storeEnd(run: Run, terminal: TerminalPatch): Promise<TerminalPatch | undefined> {
  const store = (end: TerminalPatch) =>
    within(terminalWriteMs, (signal) =>
      run.own.persist(() => run.deps.store.finish(run.own.fence, end), signal),
    );
  try {
    return (await store(terminal)) ? terminal : undefined;
  } catch (error) {
    if (error instanceof OwnershipLostError || isRetryable(error)) throw error;
    run.deps.reporter.report(error, { action: 'turn.end', turnId: run.turn.id });
    const bare = bareEnd(run, terminal, error);
    return (await store(bare)) ? bare : undefined;
  }
}

function bareEnd(run: Run, terminal: TerminalPatch, refusal: unknown): TerminalPatch {
  const { notice: _notice, ...state } = terminal;
  const end = { ...state, reasoning: '', parts: [], artifacts: [], requests: [] as const };
  if (terminal.status === 'cancelled') return { ...end, text: '' };
  const error = terminal.error ?? failureOfError(refusal);
  return { ...end, status: 'error', text: fallbackText(run), error: fittedFailure(error) };
}

const fallbackText = ({ policy }: Run) => cutText(policy.fallbackText, maxSentenceBytes);

/** Upstream's words, of which nobody knows how many they are. */
function fittedFailure({ message, name, ...more }: TurnFailure): TurnFailure {
  return {
    ...more,
    message: cutText(message, maxSentenceBytes),
    ...(name === undefined ? {} : { name: cutText(name, maxSentenceBytes) }),
  };
}

/** As many from the beginning as fit; the files themselves stay attached. */
function fittedList<T>(items: readonly T[], maxBytes: number): readonly T[] {
  let left = maxBytes;
  const over = items.findIndex((item) => {
    left -= jsonBytes(item) + 1;
    return left < 0;
  });
  return over < 0 ? items : items.slice(0, over);
}
