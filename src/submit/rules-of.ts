import { permissionsOf } from '../run/policy-hooks.ts';
import type { TurnRun } from '../run/turn-run.ts';
import type { PermissionRule } from '../turn/permission-rule.ts';
import { guarded } from './config-guard.ts';

/** What of a run is touched here. */
type Run = Pick<TurnRun, 'conversation' | 'deps' | 'policy' | 'signal' | 'submission' | 'turn'>;

/**
 * The rules that this turn runs under, with those that guard the server's own settings. The host's hook is asked once per
 * owner: an answer that changes in the middle of a turn would have the session's rules changed under its run.
 */
export function rulesOf(run: Run): Promise<readonly PermissionRule[]> {
  return run.submission.rulesOnce(async () => guarded((await permissionsOf(run)) ?? [], run.policy));
}
