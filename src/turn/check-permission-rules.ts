import { z } from 'zod';
import { checkConfig } from '../checking/check-config.ts';
import { didYouMean } from '../checking/nearest-name.ts';
import { InvalidConfigError } from '../errors.ts';
import type { PermissionRule } from './permission-rule.ts';

/** The permissions that the server knows. Source: `PermissionConfig` of its SDK, and the rules of its own agents (OpenCode 1.18.33). */
export const serverPermissions: readonly string[] = [
  'bash',
  'doom_loop',
  'edit',
  'external_directory',
  'glob',
  'grep',
  'list',
  'lsp',
  'plan_enter',
  'plan_exit',
  'question',
  'read',
  'skill',
  'task',
  'todowrite',
  'webfetch',
  'websearch',
];

/** Tools that ask under another name: a rule under their own has no force (OpenCode 1.18.33, as tried). */
const askedAs: Readonly<Record<string, string>> = {
  write: 'edit',
  apply_patch: 'edit',
  patch: 'edit',
  multiedit: 'edit',
};

const maxRules = 1_000;

const rulesSchema = z
  .array(
    z.strictObject({
      permission: z.string().min(1, 'must not be empty'),
      pattern: z.string().min(1, 'must not be empty; "*" is every one'),
      action: z.enum(['allow', 'ask', 'deny']),
    } satisfies Record<keyof PermissionRule, z.ZodType>),
  )
  .max(maxRules, `must hold at most ${maxRules} rules`);

/**
 * Refuses rules that would not do what they say: a permission that the server never asks for protects nothing. `more`
 * names those that it has from elsewhere (tools of MCP servers and plugins). A name may hold `*` when it fits a known
 * name or has the form of an MCP server's tools (`exa_*`). Throws InvalidConfigError that names the rule.
 */
export function checkPermissionRules(rules: unknown, setting: string, more: readonly string[] = []): void {
  checkConfig(rulesSchema, rules, setting);
  const known = [...serverPermissions, ...more];
  for (const [at, { permission }] of (rules as readonly PermissionRule[]).entries()) {
    if (isKnown(permission, known)) continue;
    const field = `${setting}.${at}.permission`;
    const other = Object.hasOwn(askedAs, permission) ? askedAs[permission] : undefined;
    if (other !== undefined)
      throw new InvalidConfigError(
        field,
        `"${permission}" has no force: "${other}" is the permission of ${permission}`,
      );
    const hint = didYouMean(permission, known) || `; known: ${known.join(', ')}`;
    throw new InvalidConfigError(
      field,
      `the server has no permission "${permission}"${hint} Name those of MCP servers and plugins in knownPermissions`,
    );
  }
}

function isKnown(permission: string, known: readonly string[]): boolean {
  if (known.includes(permission)) return true;
  if (!permission.includes('*')) return false;
  const pattern = new RegExp(`^${permission.split('*').map(escaped).join('.*')}$`, 's');
  return known.some((name) => pattern.test(name)) || /^[\w-]+_\*$/.test(permission);
}

const escaped = (text: string) => text.replace(/[.+?^${}()|[\]\\]/g, '\\$&');
