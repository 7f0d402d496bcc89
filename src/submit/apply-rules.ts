import { PolicyNotAppliedError } from '../errors.ts';
import { patiently } from '../run/patience.ts';
import type { TurnRun } from '../run/turn-run.ts';
import { fingerprintOf } from '../session/rules.ts';
import type { PermissionRule } from '../turn/permission-rule.ts';
import type { PromptIds } from '../turn/phase.ts';
import type { SessionRef } from '../turn/stored-turn.ts';

/** What of a run is touched here. */
type Run = Pick<
  TurnRun,
  'absence' | 'conversation' | 'deps' | 'own' | 'policy' | 'signal' | 'submission' | 'turn' | 'upstream'
>;

type Rules = readonly PermissionRule[];

/**
 * Makes the rules of the session that is to be prompted those of this turn: a session is minted under one policy and may
 * be prompted under another. Known by a fingerprint on the conversation, so that an unchanged policy asks nothing. False when
 * only a new session can have them. Throws PolicyNotAppliedError when upstream refuses them, and upstream's errors.
 *
 * Two owners at once: the later epoch's prompt is what counts. A late writer of the earlier one finds another
 * fingerprint than it saw, and takes it away, so that the next turn reads what is in force.
 */
export async function applyRules(
  run: Run,
  { sessionId, server }: Pick<PromptIds, 'sessionId' | 'server'>,
  wanted: Rules,
): Promise<boolean> {
  const rules = fingerprintOf(wanted);
  // The conversation may have another session by now, whose fingerprint says nothing of this one.
  const known = run.submission.session;
  const session: SessionRef = known?.sessionId === sessionId ? known : { sessionId, server };
  if (session.rules === rules) return true;
  const change = { before: () => run.own.assert(), patience: () => patiently(run) };
  const applied = await run.upstream(server).applyRules(sessionId, wanted, change, run.signal);
  if (applied.kind === 'new-session') return false;
  if (applied.kind === 'refused')
    throw new PolicyNotAppliedError(run.policy.name, applied.cause ? { cause: applied.cause } : undefined);
  const stored = { ...session, rules };
  await run.own.persist(() => run.deps.sessions.noteRules(run.conversation.id, session.rules, stored));
  run.submission.uses(stored);
  run.deps.tracer.event('session.rules_changed');
  return true;
}
