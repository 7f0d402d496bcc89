import { ForeignConversationError, UnknownPolicyError } from '../errors.ts';
import { endDeletedConversation } from '../finish/conversation-deleted.ts';
import { announceEnd } from '../finish/unannounced-end.ts';
import type { TurnJobs } from '../ports/turn-jobs.ts';
import type { TurnDeps } from '../run/deps.ts';
import type { TurnOutcome } from '../turn/outcome.ts';
import { type CompiledPolicy, compilePolicy } from '../turn/policy.ts';
import type { StoredTurn, TurnFailure, WaitingTurn } from '../turn/stored-turn.ts';
import { runTurn } from './run-turn.ts';

export interface ClaimDeps extends TurnDeps {
  readonly jobs: TurnJobs;
  /** The policy of that name. Throws UnknownPolicyError. */
  readonly policy: (name: string) => CompiledPolicy;
  /** How long a turn whose policy is not known is left to other workers, ms. */
  readonly unknownPolicyMs: number;
}

export type Claimed =
  /** Carried by us, as far as it came. */
  | TurnOutcome
  /** Another turn comes first. */
  | { readonly status: 'behind'; readonly turnId: string }
  /** Its conversation is held. */
  | { readonly status: 'held' }
  /** Nothing was left to carry. */
  | { readonly status: 'finished' | 'missing' }
  /** Somebody before us has written that end. */
  | { readonly status: 'error'; readonly error: TurnFailure }
  /** Nothing was claimed: a worker that knows more may do it. */
  | { readonly status: 'not-ours'; readonly error: UnknownPolicyError | ForeignConversationError };

/** Claims a turn and carries it, or does what is left to do for one that cannot be claimed. Throws ServiceUnavailableError. */
export async function claimAndRun(deps: ClaimDeps, turn: WaitingTurn, signal: AbortSignal): Promise<Claimed> {
  // Whatever has become of it: another model's conversation says nothing here, and its hooks are elsewhere.
  if (turn.foreign !== undefined)
    return { status: 'not-ours', error: new ForeignConversationError(turn.id, turn.foreign) };
  const policy = await policyFor(deps, turn);
  if (policy instanceof UnknownPolicyError) return { status: 'not-ours', error: policy };
  const claim = await deps.store.claim(turn, deps.owner);
  if (claim.kind === 'behind') return { status: 'behind', turnId: claim.turnId };
  if (claim.kind === 'held') return { status: 'held' };
  // Its conversation may be there after all: then the job comes again.
  if (claim.kind === 'conversation-deleted' && !(await endDeletedConversation(deps, turn.id, signal)))
    return { status: 'behind', turnId: turn.id };
  if (claim.kind === 'missing') return { status: 'missing' };
  if (claim.kind === 'claimed') {
    noteWait(deps, claim.turn);
    const leave = deps.levels.running.enter();
    return runTurn(deps, policy, claim.turn, claim.conversation, signal).finally(leave);
  }
  await announceEnd(deps, policy, turn.id, signal);
  // Also when an owner before us wrote the end and died: the job of a turn that failed has failed.
  const ended = await deps.store.get(turn.id);
  return ended?.status === 'error' && ended.error
    ? { status: 'error', error: ended.error }
    : { status: 'finished' };
}

/** Once for each turn: by its first claim. The clocks are those of the web app and of the database. */
function noteWait({ meter }: ClaimDeps, { run, createdAt, policy }: StoredTurn): void {
  if (run.epoch !== 1 || run.claimedAt === undefined) return;
  const seconds = Math.max(0, run.claimedAt - createdAt) / 1_000;
  meter.measure('opencode_turns.queue.wait', seconds, { 'turn.policy': policy });
}

/**
 * An unknown policy must not claim: another worker may know it, as they come with a deploy. For `unknownPolicyMs` since the
 * first worker that met it, however often workers are replaced meanwhile: no turn waits for ever for a name that nobody
 * has. One that is to be cancelled needs no policy, unless it is only to be told.
 */
async function policyFor(
  { policy, store, unknownPolicyMs }: ClaimDeps,
  turn: WaitingTurn,
): Promise<CompiledPolicy | UnknownPolicyError> {
  try {
    return policy(turn.policy);
  } catch (error) {
    if (!(error instanceof UnknownPolicyError)) throw error;
    const control = await store.control(turn.id);
    if (control?.run.cancelRequestedAt !== undefined && control.run.phase !== 'finished')
      return compilePolicy(turn.policy, {});
    if ((await store.policySoughtMs(turn.id)) < unknownPolicyMs) return error;
    return { ...compilePolicy(turn.policy, {}), ends: 'unknownPolicyMs' };
  }
}
