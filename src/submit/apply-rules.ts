import { BadRequestError, PolicyNotAppliedError } from '../errors.ts';
import type { OpenCode } from '../ports/upstream.ts';
import { patiently } from '../run/patience.ts';
import type { TurnRun } from '../run/turn-run.ts';
import { areInForce, covers, fingerprintOf, inherited, maxSessionRules } from '../session/rules.ts';
import { sessionsBelow } from '../stop/session-tree.ts';
import { persevere } from '../timing/persevere.ts';
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
  const { client } = run.upstream(server);
  const ask = <T>(call: () => Promise<T>) => persevere(call, patiently(run), run.signal);
  const { permission: list = [] } = await ask(() => client.getSession(sessionId, run.signal));
  if (!areInForce(list, wanted)) {
    if (list.length + wanted.length > maxSessionRules || !covers(wanted, list)) return false;
    await run.own.assert();
    await append(run, client, sessionId, wanted, ask);
  }
  // Sub-agents that exist keep their older rules, and may be resumed.
  for (const child of await ask(() => sessionsBelow(client, [sessionId], run.signal))) {
    const denied = inherited(wanted);
    const known = child.permission ?? [];
    if (denied.length === 0 || areInForceAtLeast(known, denied)) continue;
    if (known.length + denied.length > maxSessionRules) return false;
    await append(run, client, child.id, denied, ask);
  }
  const stored = { ...session, rules };
  await run.own.persist(() => run.deps.sessions.noteRules(run.conversation.id, session.rules, stored));
  run.submission.uses(stored);
  run.deps.tracer.event('session.rules_changed');
  return true;
}

/** The denied rules stand last: whatever else a sub-agent was told, these decide. */
function areInForceAtLeast(list: Rules, denied: Rules): boolean {
  return areInForce(list.slice(-denied.length), denied);
}

async function append(
  run: Run,
  client: OpenCode,
  sessionId: string,
  rules: Rules,
  ask: <T>(call: () => Promise<T>) => Promise<T>,
): Promise<void> {
  let answer: Rules;
  try {
    const session = await ask(() => client.addPermissions(sessionId, rules, run.signal));
    answer = session.permission ?? [];
  } catch (error) {
    if (error instanceof BadRequestError) throw new PolicyNotAppliedError(run.policy.name, { cause: error });
    throw error;
  }
  if (!areInForceAtLeast(answer, rules)) throw new PolicyNotAppliedError(run.policy.name);
}
