import path from 'node:path';
import { messageOf, PolicyHookError } from '../errors.ts';
import { within } from '../timing/time-limit.ts';
import { unlessAborted } from '../timing/unless-aborted.ts';
import { checkPermissionRules } from '../turn/check-permission-rules.ts';
import { ownDirectory } from '../turn/conversation-id.ts';
import type { PermissionRule } from '../turn/permission-rule.ts';
import type { TurnRun } from './turn-run.ts';

/** What of a run is touched here. */
type Run = Pick<TurnRun, 'conversation' | 'deps' | 'policy' | 'signal'>;

type Hook = 'system' | 'directory' | 'permissions' | 'onFinalized' | 'onTurnFinished';

/** The longest answer of `system`, in characters. */
const maxSystemLength = 1024 * 1024;

/**
 * Calls code of the host: once, under `hookTimeoutMs` and `signal`, and believes nothing that it returns before `check`
 * has. Throws PolicyHookError (`threw`, `timeout`, `invalid`) and the signal's reason. What it does after its time is
 * not heard. One that never gives the event loop back cannot be ended by anybody.
 */
export async function callHook<T, R>(
  policy: { readonly name: string; readonly limits: { readonly hookTimeoutMs: number } },
  hook: Hook,
  fn: (signal: AbortSignal) => T | Promise<T>,
  check: (answer: T) => R,
  signal: AbortSignal,
): Promise<R> {
  const { hookTimeoutMs } = policy.limits;
  const failed = (kind: PolicyHookError['kind'], problem: string, cause?: unknown) =>
    new PolicyHookError(policy.name, hook, kind, problem, cause === undefined ? {} : { cause });
  const answer = await within(
    hookTimeoutMs,
    async (limit) => {
      try {
        return await unlessAborted(Promise.resolve(limit).then(fn), limit);
      } catch (error) {
        if (signal.aborted) throw signal.reason;
        if (limit.aborted) throw failed('timeout', `did not answer within ${hookTimeoutMs} ms`);
        throw failed('threw', `threw: ${messageOf(error)}`, error);
      }
    },
    signal,
  );
  try {
    return check(answer);
  } catch (error) {
    throw failed('invalid', messageOf(error), error);
  }
}

/** The text of the policy's `system`, or undefined. Throws as `callHook`. */
export async function systemText(run: Run): Promise<string | undefined> {
  const { system } = run.policy;
  if (typeof system !== 'function') return system;
  const check = (text: unknown) => {
    if (typeof text !== 'string') throw new Error(`must answer a text, not a value of type ${typeof text}`);
    if (text.length > maxSystemLength)
      throw new Error(`answered ${text.length} characters, at most ${maxSystemLength}`);
    return text;
  };
  return callHook(run.policy, 'system', (signal) => system(run.conversation, signal), check, run.signal);
}

/** The rules of a new session, or undefined. Throws as `callHook`. */
export async function permissionsOf(run: Run): Promise<readonly PermissionRule[] | undefined> {
  const { permissions, knownPermissions } = run.policy;
  if (typeof permissions !== 'function') return permissions;
  const check = (rules: readonly PermissionRule[]) => {
    checkPermissionRules(rules, 'answer', knownPermissions);
    return rules;
  };
  return callHook(
    run.policy,
    'permissions',
    (signal) => permissions(run.conversation, signal),
    check,
    run.signal,
  );
}

/** The agent's directory: absolute, without `..`, below the policy's root. Throws as `callHook`. */
export async function directoryOf(run: Run): Promise<string> {
  const { directory, directoryRoot = run.deps.sandboxRoot } = run.policy;
  if (!directory) return ownDirectory(run.deps, run.deps.sessions, run.conversation.id);
  const check = (answer: unknown) => directoryBelow(path.resolve(directoryRoot), answer);
  return callHook(
    run.policy,
    'directory',
    (signal) => directory(run.conversation, signal),
    check,
    run.signal,
  );
}

/** The normal form of a path that lies below the root. Throws an Error that says why it does not. */
export function directoryBelow(root: string, given: unknown): string {
  if (typeof given !== 'string') throw new Error(`must answer a path, not a value of type ${typeof given}`);
  // An empty or relative one would be read as one of the server's own folders.
  if (!path.isAbsolute(given)) throw new Error(`must answer an absolute path, not ${JSON.stringify(given)}`);
  if (given.includes('\0')) throw new Error('must answer a path without NUL');
  // No address can hold it, so no request to the server either.
  if (/\p{Surrogate}/u.test(given)) throw new Error('must answer a path without lone surrogates');
  const normal = path.resolve(given);
  const below = root === path.sep ? root : root + path.sep;
  if (normal !== root && normal.startsWith(below)) return normal;
  throw new Error(`answered a directory that is not below ${root}; policy.directoryRoot says what may be`);
}
