import { BadRequestError } from '../../errors.ts';
import type { Change, RulesApplied } from '../../ports/upstream.ts';
import { persevere } from '../../timing/persevere.ts';
import type { PermissionRule } from '../../turn/permission-rule.ts';
import { areInForce, covers, inherited, maxSessionRules } from './rules.ts';
import type { OpenCode } from './server.ts';
import { sessionsBelow } from './session-tree.ts';

type Rules = readonly PermissionRule[];

/** How a session with this many rules is given others: not at all, or by what is appended. */
export async function applyRules(
  client: OpenCode,
  sessionId: string,
  wanted: Rules,
  { before, patience }: Change,
  signal: AbortSignal,
): Promise<RulesApplied> {
  const ask = <T>(call: () => Promise<T>) => persevere(call, patience(), signal);
  const append = async (id: string, rules: Rules): Promise<RulesApplied> => {
    await before();
    try {
      const { permission = [] } = await ask(() => client.addPermissions(id, rules, signal));
      return areInForceAtLeast(permission, rules) ? { kind: 'in-force' } : { kind: 'refused' };
    } catch (cause) {
      if (cause instanceof BadRequestError) return { kind: 'refused', cause };
      throw cause;
    }
  };
  const { permission: list = [] } = await ask(() => client.getSession(sessionId, signal));
  if (!areInForce(list, wanted)) {
    if (list.length + wanted.length > maxSessionRules || !covers(wanted, list))
      return { kind: 'new-session' };
    const applied = await append(sessionId, wanted);
    if (applied.kind !== 'in-force') return applied;
  }
  // Sub-agents that exist keep their older rules, and may be resumed.
  for (const child of await ask(() => sessionsBelow(client, [sessionId], signal))) {
    const denied = inherited(wanted);
    const known = child.permission ?? [];
    if (denied.length === 0 || areInForceAtLeast(known, denied)) continue;
    if (known.length + denied.length > maxSessionRules) return { kind: 'new-session' };
    const applied = await append(child.id, denied);
    if (applied.kind !== 'in-force') return applied;
  }
  return { kind: 'in-force' };
}

/** The denied rules stand last: whatever else a sub-agent was told, these decide. */
function areInForceAtLeast(list: Rules, denied: Rules): boolean {
  return areInForce(list.slice(-denied.length), denied);
}
