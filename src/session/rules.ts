import { createHash } from 'node:crypto';
import type { PermissionRule } from '../turn/permission-rule.ts';

/** The same for the same rules in the same order. */
export function fingerprintOf(rules: readonly PermissionRule[]): string {
  const text = JSON.stringify(rules.map(({ permission, pattern, action }) => [permission, pattern, action]));
  return createHash('sha256').update(text).digest('hex').slice(0, 32);
}
