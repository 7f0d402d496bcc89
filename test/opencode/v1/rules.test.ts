import '../../support/fuzz-seed.ts';
import { expect, it } from '@jest/globals';
import fc from 'fast-check';
import { areInForce, covers, inherited } from '../../../src/opencode/v1/rules.ts';
import { fingerprintOf } from '../../../src/session/rules.ts';
import type { PermissionRule } from '../../../src/turn/permission-rule.ts';

const rule = (permission: string, pattern: string, action: PermissionRule['action']): PermissionRule => ({
  permission,
  pattern,
  action,
});

const anyRule = fc.record({
  permission: fc.constantFrom('bash', 'edit', 'web*', '*'),
  pattern: fc.constantFrom('*', 'rm *', 'a'),
  action: fc.constantFrom('allow', 'ask', 'deny') as fc.Arbitrary<PermissionRule['action']>,
});
const anyRules = fc.array(anyRule, { maxLength: 5 });
const inputs = ['bash', 'edit', 'webfetch', 'task'].flatMap((permission) =>
  ['rm x', 'a', 'ls'].map((text) => ({ permission, text })),
);

/** As the server does it: the last rule that matches decides. */
function decide(rules: readonly PermissionRule[], { permission, text }: (typeof inputs)[number]) {
  const matches = (pattern: string, value: string) =>
    new RegExp(`^${pattern.replaceAll('*', '.*')}$`).test(value);
  return rules.findLast((each) => matches(each.permission, permission) && matches(each.pattern, text))
    ?.action;
}

it('rules that cover older ones decide alone, whatever the older ones were', () => {
  let covered = 0;
  fc.assert(
    fc.property(anyRules, anyRules, (older, newer) => {
      if (!covers(newer, older)) return;
      covered += 1;
      for (const input of inputs) expect(decide([...older, ...newer], input)).toBe(decide(newer, input));
    }),
    { numRuns: 2_000 },
  );
  expect(covered).toBeGreaterThan(200);
});

it('a list is in force only when nothing older shows through it', () => {
  fc.assert(
    fc.property(anyRules, anyRules, (list, wanted) => {
      if (!areInForce(list, wanted)) return;
      for (const input of inputs) expect(decide(list, input)).toBe(decide(wanted, input));
    }),
    { numRuns: 2_000 },
  );
  const deny = rule('bash', '*', 'deny');
  expect(areInForce([rule('bash', 'ls', 'allow'), deny], [deny])).toBe(true);
  expect(areInForce([rule('edit', '*', 'allow'), deny], [deny])).toBe(false);
  expect(areInForce([deny, rule('bash', 'ls', 'allow')], [deny])).toBe(false);
  expect([areInForce([], []), areInForce([deny], [])]).toEqual([true, false]);
});

it('a fingerprint tells rules and their order apart, and nothing else', () => {
  const [a, b] = [rule('bash', '*', 'deny'), rule('bash', 'ls', 'allow')];
  expect(fingerprintOf([a, b])).toBe(fingerprintOf([{ ...a }, JSON.parse(JSON.stringify(b))]));
  expect(new Set([[], [a], [b], [a, b], [b, a]].map(fingerprintOf)).size).toBe(5);
  expect(inherited([a, b])).toEqual([a]);
});
