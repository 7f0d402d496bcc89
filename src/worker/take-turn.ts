import {
  type ForeignConversationError,
  isRetryable,
  NewerVersionError,
  TurnFailedError,
  type UnknownPolicyError,
} from '../errors.ts';
import { onlyTraceContext } from '../instrumentation/safe-tracer.ts';
import { behindDelayMs } from '../ports/turn-jobs.ts';
import { backoffMs } from '../timing/backoff.ts';
import type { WaitingTurn } from '../turn/stored-turn.ts';
import { type ClaimDeps, claimAndRun } from './claim-turn.ts';
import { wakeNext } from './wake-next.ts';

/** A job that has come to a worker, as far as its turn is concerned. */
export interface TakenJob {
  readonly turnId: string;
  /** How many times it has been taken, this time included. */
  readonly attempt: number;
}

/** What is to become of the job. */
export type JobEnd =
  /** There is nothing to do for it any more. */
  | { readonly kind: 'complete'; readonly status: 'completed' | 'cancelled' | 'finished' | 'missing' }
  /** Its turn has ended as an error, which is stored and stays: not to be tried again. */
  | { readonly kind: 'fail'; readonly error: TurnFailedError }
  /** It comes again after that time; earlier, when what it waits for is over; see `stillWaits`. */
  | { readonly kind: 'delay'; readonly ms: number; readonly for?: WaitsFor }
  /** This worker leaves: somebody else may have it at once. */
  | { readonly kind: 'hand-back' }
  /** It is somebody else's already, or will be when its lock expires: whatever we say is not heard. */
  | { readonly kind: 'lost' };

/** The turn in front, or the release of its conversation. */
export type WaitsFor = { readonly turnId: string } | { readonly heldConversationId: string };

const leaveBackoff = { firstMs: 500, maxMs: 10_000, jitter: 0.3 };
const awayBackoff = { firstMs: 500, maxMs: 30_000, jitter: 0.3 };

/**
 * What a job is for, from the claim to what comes next: the turn is claimed, its policy found, its run carried to an end
 * (`run-turn.ts`), and the conversation's next turn woken. Whatever services do ends in one of the answers; what nobody
 * foresaw is thrown, and costs the job an attempt. `signal` aborts with TurnAbortError `shutdown` or `ownership-lost`.
 */
export async function takeTurn(deps: ClaimDeps, job: TakenJob, signal: AbortSignal): Promise<JobEnd> {
  const turn = await deps.store.waiting(job.turnId).catch((error: unknown) => unforeseen(deps, job, error));
  if (turn === null) return { kind: 'complete', status: 'missing' };
  if ('kind' in turn) return turn;
  const attributes = { 'turn.id': turn.id, 'turn.policy': turn.policy, 'job.attempt': job.attempt };
  const parent = turn.carrier ? { parent: onlyTraceContext(turn.carrier) } : {};
  try {
    return await deps.tracer.span('turn.process', { kind: 'consumer', attributes, ...parent }, () =>
      carry(deps, turn, job, signal),
    );
  } catch (error) {
    if (error instanceof TurnFailedError) return { kind: 'fail', error };
    throw error;
  }
}

/**
 * Whether what a job waits for still is, to be asked once the job is delayed: it may have ended between the claim and the
 * delay, when there was nothing to wake yet. True also when nobody can say: the delay's own end wakes it.
 */
export async function stillWaits(deps: ClaimDeps, end: JobEnd, turnId?: string): Promise<boolean> {
  if (end.kind !== 'delay' || !end.for) return true;
  try {
    if ('heldConversationId' in end.for)
      return (await deps.store.conversation(end.for.heldConversationId))?.held === true;
    return (await deps.store.get(end.for.turnId))?.status === 'pending';
  } catch (error) {
    if (!(error instanceof NewerVersionError)) report(deps, error, 'turn.delay', turnId);
    return true;
  }
}

/** Throws TurnFailedError for a turn that ended as an error: its span is one, too. */
async function carry(
  deps: ClaimDeps,
  turn: WaitingTurn,
  job: TakenJob,
  signal: AbortSignal,
): Promise<JobEnd> {
  const claimed = await claimAndRun(deps, turn, signal).catch((error) => unforeseen(deps, job, error));
  if ('kind' in claimed) return claimed;
  switch (claimed.status) {
    case 'not-ours':
      return leaveToOthers(deps, job, claimed.error);
    case 'behind':
      deps.tracer.event('turn.delayed', { 'turn.blocker': claimed.turnId });
      return { kind: 'delay', ms: behindDelayMs, for: { turnId: claimed.turnId } };
    case 'held':
      deps.tracer.event('turn.held');
      return { kind: 'delay', ms: behindDelayMs, for: { heldConversationId: turn.conversationId } };
    case 'interrupted':
      if (claimed.reason === 'ownership-lost') return { kind: 'lost' };
      return claimed.reason === 'shutdown' ? { kind: 'hand-back' } : unforeseen(deps, job, claimed.cause);
    default:
      await wakeNext(deps, turn.conversationId, signal);
      if (claimed.status === 'error') throw new TurnFailedError(turn.id, claimed.error);
      return { kind: 'complete', status: claimed.status };
  }
}

/**
 * Another worker may know the policy or the version, or have the conversation: the job waits for it, and costs no attempt. It
 * is offered again every few seconds, without an end: only an unknown policy has one, see `PolicyTable`.
 */
export function leaveToOthers(
  deps: ClaimDeps,
  { turnId, attempt }: Partial<TakenJob> & Pick<TakenJob, 'attempt'>,
  error: UnknownPolicyError | ForeignConversationError | NewerVersionError,
): JobEnd {
  report(deps, error, 'turn.job', turnId);
  return { kind: 'delay', ms: backoffMs(attempt, leaveBackoff) };
}

/** A service that is away delays the job, and so does what a newer release has stored; everything else is its failure. */
function unforeseen(deps: ClaimDeps, job: TakenJob, error: unknown): JobEnd {
  if (error instanceof NewerVersionError) return leaveToOthers(deps, job, error);
  if (!isRetryable(error)) throw error;
  return away(deps, job, error);
}

/** The turn goes on as soon as may be, and its job costs no attempt. */
function away(deps: ClaimDeps, { attempt }: TakenJob, cause: unknown): JobEnd {
  report(deps, cause, 'turn.giveBack');
  return { kind: 'delay', ms: backoffMs(attempt, awayBackoff) };
}

function report({ reporter, owner }: ClaimDeps, error: unknown, action: string, turnId?: string): void {
  const whose = turnId === undefined ? {} : { turnId };
  reporter.report(error, { action, severity: 'warning', owner, ...whose });
}
