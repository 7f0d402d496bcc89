export interface PermissionRule {
  readonly permission: string;
  readonly pattern: string;
  readonly action: 'allow' | 'ask' | 'deny';
}

/**
 * Whether under these rules nothing is done by a tool that has this permission before somebody has allowed it. The last
 * rule that matches decides (OpenCode 1.18). A rule that may allow some of it, or says so in a pattern, is enough for no.
 */
export function asksForAll(rules: readonly PermissionRule[], permission: string): boolean {
  for (const rule of rules.toReversed()) {
    const fits = [permission, '*'].includes(rule.permission);
    if (rule.action === 'allow' && (fits || /[*?]/.test(rule.permission))) return false;
    if (fits && rule.pattern === '*') return rule.action === 'ask';
  }
  return false;
}
