/**
 * What a session's permission rules mean. Upstream only appends rules, the last one that matches decides, and none can be
 * removed (OpenCode 1.18.33, tried live). Pure.
 */
import type { PermissionRule } from '../../turn/permission-rule.ts';

type Rules = readonly PermissionRule[];

/** The longest list that one more change may make; a session with more gets a successor. */
export const maxSessionRules = 500;

/**
 * Whether `newer`, appended to `older`, decides everything that `older` decided: each older rule has a newer one that
 * matches all that it matches. Only what a comparison of the texts proves counts.
 */
export function covers(newer: Rules, older: Rules): boolean {
  return older.every((old) =>
    newer.some(
      ({ permission, pattern }) =>
        [old.permission, '*'].includes(permission) && [old.pattern, '*'].includes(pattern),
    ),
  );
}

/** Whether a session with this list behaves as one that has only the wanted rules. */
export function areInForce(list: Rules, wanted: Rules): boolean {
  const start = list.length - wanted.length;
  if (start < 0) return false;
  const same = wanted.every((rule, at) => isSame(rule, list[start + at]));
  return same && covers(wanted, list.slice(0, start));
}

/** What a sub-agent's session takes over from its parent: `deny` rules only. */
export const inherited = (rules: Rules): Rules => rules.filter(({ action }) => action === 'deny');

function isSame(a: PermissionRule, b: PermissionRule | undefined): boolean {
  return a.permission === b?.permission && a.pattern === b.pattern && a.action === b.action;
}
