import { expect, it } from '@jest/globals';
import { BadRequestError, OwnershipLostError } from '../../../src/errors.ts';
import { applyRules } from '../../../src/opencode/v1/apply-rules.ts';
import type { OpenCode } from '../../../src/opencode/v1/server.ts';
import type { PermissionRule } from '../../../src/turn/permission-rule.ts';

const never = new AbortController().signal;
const deny: PermissionRule = { permission: 'bash', pattern: '*', action: 'deny' };
const refusal = new BadRequestError('no', { method: 'PATCH', path: '/session/{id}', status: 400 });

/** A server with a session and a sub-agent's below it, each with its rules. */
function server(root: readonly PermissionRule[], child: readonly PermissionRule[]) {
  const rules = new Map([
    ['root', root],
    ['child', child],
  ]);
  const changed: string[] = [];
  const wire = (id: string) => ({ id, permission: rules.get(id) ?? [] });
  const client = {
    getSession: async (id: string) => wire(id),
    children: async (id: string) => (id === 'root' ? [wire('child')] : []),
    addPermissions: async (id: string, more: readonly PermissionRule[]) => {
      changed.push(id);
      rules.set(id, [...(rules.get(id) ?? []), ...more]);
      return wire(id);
    },
  };
  const apply = (before: () => Promise<void> = async () => undefined, more: Partial<typeof client> = {}) =>
    applyRules(
      { ...client, ...more } as unknown as OpenCode,
      'root',
      [deny],
      { before, patience: () => ({ firstMs: 0, maxMs: 0, again: () => false }) },
      never,
    );
  return { changed, apply };
}

it('makes what is denied hold in a session and in those of its sub-agents, each change asserted', async () => {
  const { changed, apply } = server([], []);
  let asserted = 0;
  const before = async () => {
    asserted += 1;
  };
  expect(await apply(before)).toEqual({ kind: 'in-force' });
  expect([changed, asserted]).toEqual([['root', 'child'], 2]);
  expect(await apply(before)).toEqual({ kind: 'in-force' });
  expect([changed.length, asserted]).toEqual([2, 2]);
});

it('changes nothing of a sub-agent once the turn is somebody else’s', async () => {
  const { changed, apply } = server([deny], []);
  const lost = new OwnershipLostError('turn', 1);
  await expect(
    apply(async () => {
      throw lost;
    }),
  ).rejects.toBe(lost);
  expect(changed).toEqual([]);
});

it('says when only a new session can have them, and when the server does not take them', async () => {
  const allowed = server([{ ...deny, permission: 'edit', action: 'allow' }], []);
  expect(await allowed.apply()).toEqual({ kind: 'new-session' });
  expect(allowed.changed).toEqual([]);
  const addPermissions = async () => {
    throw refusal;
  };
  expect(await server([], []).apply(undefined, { addPermissions })).toEqual({
    kind: 'refused',
    cause: refusal,
  });
  const ignores = async (id: string) => ({ id, permission: [] });
  expect(await server([], []).apply(undefined, { addPermissions: ignores })).toEqual({ kind: 'refused' });
});
