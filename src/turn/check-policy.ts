import path from 'node:path';
import { z } from 'zod';
import { apparentName } from '../artifacts/attachment-names.ts';
import { Transform } from '../artifacts/transform.ts';
import { checkConfig, functionOf } from '../checking/check-config.ts';
import { InvalidConfigError } from '../errors.ts';
import { checkPermissionRules } from './check-permission-rules.ts';
import type { PermissionRule } from './permission-rule.ts';

const name = z.string().min(1, 'must not be empty').max(500, 'must have at most 500 characters');
const absolute = z
  .string()
  .refine((value) => path.isAbsolute(value) && !value.includes('\0'), 'must be an absolute path');
const anything = z.unknown();

/** What a policy may say. */
export const policyShape = {
  agent: name.optional(),
  model: name.optional(),
  variant: name.optional(),
  system: z
    .custom((value) => ['string', 'function'].includes(typeof value), 'must be a text or a function')
    .optional(),
  permissions: z
    .custom((value) => Array.isArray(value) || typeof value === 'function', 'must be a list or a function')
    .optional(),
  knownPermissions: z.array(name).max(1_000).optional(),
  allowAlways: z.boolean().optional(),
  serverConfigFiles: z.enum(['refuse', 'remove', 'report', 'allow']).optional(),
  hostConfigFiles: z
    .array(
      z.strictObject({
        path: name,
        sha256: z
          .string()
          .regex(/^[0-9a-f]{64}$/i, 'must be 64 hexadecimal digits')
          .optional(),
      }),
    )
    .max(1_000)
    .optional(),
  answeredElsewhere: z.enum(['stop', 'report', 'allow']).optional(),
  directory: functionOf('(conversation) => an absolute path').optional(),
  directoryRoot: absolute.optional(),
  limits: z.unknown().optional(),
  onUpstreamLost: z.enum(['rerun', 'fail']).optional(),
  transforms: z.array(anything).optional(),
  defaultAttach: z.enum(['all', 'none']).optional(),
  fallbackText: z.string().max(10_000).optional(),
  onFinalized: functionOf('(outcome, exchange) => void').optional(),
  onTurnFinished: functionOf('(outcome) => void').optional(),
};

/** The fields of a policy that need more than their shape. */
interface Rules {
  readonly permissions?: readonly PermissionRule[] | ((...args: never) => unknown);
  readonly knownPermissions?: readonly string[];
  readonly transforms?: readonly Transform[];
}

/** Whatever a policy says without a function is checked when it is registered. Throws InvalidConfigError that names the field. */
export function checkPolicy(policyName: string, policy: Rules, shape: typeof policyShape): void {
  const setting = `policies.${policyName}`;
  checkConfig(z.strictObject(shape), policy, setting);
  const { permissions, knownPermissions, transforms = [] } = policy;
  if (Array.isArray(permissions))
    checkPermissionRules(permissions, `${setting}.permissions`, knownPermissions);
  checkTransforms(`${setting}.transforms`, transforms);
}

/** Two transforms that own one name could not tell their files apart. */
function checkTransforms(setting: string, transforms: readonly Transform[]): void {
  const seen = new Set<string>();
  for (const transform of transforms) {
    if (!(transform instanceof Transform))
      throw new InvalidConfigError(setting, 'must hold objects made by new Transform({ … })');
    const owned = apparentName(transform.destinationFilename);
    if (seen.has(owned))
      throw new InvalidConfigError(
        setting,
        `two render "${transform.destinationFilename}"; each needs its own`,
      );
    seen.add(owned);
  }
}
