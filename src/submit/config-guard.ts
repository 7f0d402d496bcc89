import { randomUUID } from 'node:crypto';
import { rename } from 'node:fs/promises';
import path from 'node:path';
import { serverConfigFiles } from '../artifacts/server-config-files.ts';
import { ServerConfigFilesError } from '../errors.ts';
import type { TurnRun } from '../run/turn-run.ts';
import { within } from '../timing/time-limit.ts';
import { unlessAborted } from '../timing/unless-aborted.ts';
import type { PermissionRule } from '../turn/permission-rule.ts';
import type { CompiledPolicy } from '../turn/policy.ts';
import { matches } from '../turn/wildcard.ts';

/** What of a run is touched here. */
type Run = Pick<TurnRun, 'deps' | 'policy' | 'signal' | 'turn'>;

/** How long one poll may take. */
const scanMs = 10_000;

/** As the server matches them: from the root of a repository, or of the disk where there is none (OpenCode 1.18.33). */
const guard: readonly PermissionRule[] = ['*opencode.json', '*opencode.jsonc', '*.opencode/*'].map(
  (pattern) => ({ permission: 'edit', pattern, action: 'deny' }),
);

/**
 * A policy's rules with those that keep the agent's file tools from the server's own settings, last, so that they decide.
 * Where nothing may be edited they are left out: the server offers the tools again when another rule comes behind that one.
 */
export function guarded(
  rules: readonly PermissionRule[],
  { serverConfigFiles: mode }: Pick<CompiledPolicy, 'serverConfigFiles'>,
): readonly PermissionRule[] {
  // Rows of stars are one star to the server, however long.
  const last = rules.findLast(({ permission }) => matches(permission.replaceAll(/\*+/g, '*'), 'edit'));
  const nothing = last?.action === 'deny' && last.pattern === '*';
  return mode === 'allow' || nothing ? rules : [...rules, ...guard];
}

/**
 * Before each prompt: looks for settings of the server that no host put where the agent works. Rules alone do not hold
 * (links, a patch that moves a file, commands), and what stands there is run by the server with its own rights. As
 * the policy says: ServerConfigFilesError, moved aside, reported. What cannot be looked at in time is refused.
 */
export async function checkServerConfig(run: Run, directory: string): Promise<void> {
  const { policy, deps, turn } = run;
  const { serverConfigFiles: mode, hostConfigFiles, directoryRoot = deps.sandboxRoot } = policy;
  if (mode === 'allow') return;
  const scan = () => serverConfigFiles(directory, path.resolve(directoryRoot), hostConfigFiles);
  const found = await inTime(run, directory, scan);
  if (found.length === 0) return;
  const shown = found.map((file) => path.relative(directory, file));
  if (mode === 'refuse' || (mode === 'remove' && !(await inTime(run, directory, () => moveAside(found)))))
    throw new ServerConfigFilesError(shown);
  deps.reporter.report(new ServerConfigFilesError(shown), {
    action: mode === 'remove' ? 'turn.config_removed' : 'turn.config_found',
    severity: 'warning',
    turnId: turn.id,
  });
}

async function inTime<T>(run: Run, directory: string, scan: () => Promise<T>): Promise<T> {
  try {
    return await within(scanMs, (limit) => unlessAborted(scan(), limit), run.signal, run.deps.clock);
  } catch (cause) {
    if (run.signal.aborted) throw run.signal.reason;
    throw new ServerConfigFilesError([path.basename(directory)], { cause });
  }
}

/**
 * In one step, and nothing is followed or lost. False for what lies below a `.opencode` of the host's own: a folder on
 * the way may be swapped for a link by what still runs there, so that is for people to clean.
 */
async function moveAside(found: readonly string[]): Promise<boolean> {
  if (found.some((file) => path.dirname(file).split(path.sep).includes('.opencode'))) return false;
  for (const file of found) await rename(file, `${file}.removed-${randomUUID().slice(0, 8)}`);
  return true;
}
