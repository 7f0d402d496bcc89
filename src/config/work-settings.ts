import { z } from 'zod';
import { checkConfig } from '../checking/check-config.ts';
import { dayMs, weekMs, wholeNumber } from '../checking/numbers.ts';
import { InvalidConfigError } from '../errors.ts';
import type { Policies } from '../turn/policy.ts';
import type { WorkOptions } from '../worker/running-worker.ts';

const isTable = (value: unknown) => typeof value === 'object' && value !== null && !Array.isArray(value);

/** What `work` takes. Each default and each bound of these settings stands here, and nowhere else. */
export const workSchema = z.strictObject({
  policies: z.custom<Policies<never>>(isTable, 'must be a table of policies by name').meta({
    kind: 'table of policies',
    bounds: 'at least one',
    description: "the products' rules by name; jobs name one of them",
  }),
  concurrency: wholeNumber(1, 10_000).default(50).meta({
    env: 'OPENCODE_TURNS_CONCURRENCY',
    description: 'turns at once in one process: they wait for a model most of the time',
  }),
  lockMs: wholeNumber(1_000, 600_000).default(15_000).meta({
    env: 'OPENCODE_TURNS_LOCK_MS',
    description:
      "BullMQ's lock on a job, renewed at half time; a dead worker's turn is adopted within lock + check",
  }),
  stalledCheckMs: wholeNumber(100, 600_000).default(4_000).meta({
    env: 'OPENCODE_TURNS_STALLED_CHECK_MS',
    description:
      'how often locks that have run out are looked for; where both are given, no rarer than the lock',
  }),
  unknownPolicyMs: wholeNumber(0, weekMs).default(600_000).meta({
    env: 'OPENCODE_TURNS_UNKNOWN_POLICY_MS',
    description:
      'how long a turn whose policy this worker does not know is left to others before it ends as an error',
  }),
  sweeper: z
    .strictObject({
      everyMs: wholeNumber(100, 3_600_000).default(15_000).meta({
        env: 'OPENCODE_TURNS_SWEEP_EVERY_MS',
        description: 'how often what fell between two systems is looked for',
      }),
      minAgeMs: wholeNumber(0, dayMs).default(10_000).meta({
        env: 'OPENCODE_TURNS_SWEEP_MIN_AGE_MS',
        description: 'from what age on',
      }),
    })
    .prefault({}),
} satisfies Record<keyof WorkOptions, z.ZodType>);

/** What is used of the options of `work`: nothing of it is left out. */
export type WorkSettings = Readonly<z.output<typeof workSchema>>;

/**
 * Throws InvalidConfigError that names the option, and the nearest known one for a name that is not; what stands in the
 * policies is checked by each policy.
 */
export function workSettings(given: WorkOptions<never>): WorkSettings {
  const settings = checkConfig(workSchema, given, '');
  const { lockMs, stalledCheckMs } = given;
  if (lockMs !== undefined && stalledCheckMs !== undefined && stalledCheckMs > lockMs) {
    const most = `must be at most lockMs (${lockMs.toLocaleString('en-US')})`;
    throw new InvalidConfigError('stalledCheckMs', `${most}, not ${stalledCheckMs}`);
  }
  return settings;
}

const stopSchema = wholeNumber(0, dayMs).default(10_000).meta({
  env: 'OPENCODE_TURNS_SHUTDOWN_MS',
  description: 'how long running turns may go on after SIGTERM, or of `worker.stop(deadlineMs)`',
});
export const workerStopSchema = z.strictObject({ deadlineMs: stopSchema });

/** Throws InvalidConfigError. */
export const stopDeadline = (deadlineMs: number | undefined): number =>
  checkConfig(stopSchema, deadlineMs, 'deadlineMs');
