/**
 * The BullMQ job of a turn: names, payload, options. The payload carries the turn's id, never text or
 * rules, so the board shows nothing private.
 */
import type { JobsOptions } from 'bullmq';
import { z } from 'zod';
import { InvalidInputError } from '../errors.ts';
import { assertReadable, versions } from '../turn/versions.ts';

export const queueName = 'turns';
export const jobName = 'turn';

const objectId = z.string().regex(/^[0-9a-f]{24}$/, 'must be 24 hex digits');

/**
 * The turn's id, the payload's version and nothing else: conversation, policy and trace come from the stored turn, so whoever
 * can write to Redis can change none of them. Other fields are left alone: those of a newer release, whose jobs reach
 * older workers during a deploy, and of an older one.
 */
const payloadSchema = z.object({ turnId: objectId, version: z.number().int().min(1).optional() });

export type TurnJobData = z.infer<typeof payloadSchema>;

export const payloadOf = (turnId: string): TurnJobData => ({ version: versions.job, turnId });

/** What a job's processor returns; shown by the board. */
export interface TurnJobResult {
  readonly status: string;
  readonly reason?: string;
}

/**
 * Throws InvalidInputError: a job that somebody else wrote into the queue is refused, not guessed at. NewerVersionError for
 * one of a newer release, of which nothing else is read.
 */
export function parseJobData(data: unknown, jobId: string): TurnJobData {
  if (typeof data === 'object' && data !== null && 'version' in data)
    assertReadable('job', jobId, data.version);
  const parsed = payloadSchema.safeParse(data);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new InvalidInputError(`job.${issue?.path.join('.') || 'data'}`, issue?.message ?? 'not a turn job');
}

/** One job per turn: BullMQ adds an id that it still knows only once. Ids must not contain ":" nor be a number. */
export const turnJobId = (turnId: string): string => `turn-${turnId}`;

/**
 * A turn answers for its own retries, and a service that is away delays its job without costing an attempt, so
 * attempts are for what nobody foresaw; the sweeper adds the job again afterwards. Finished jobs are kept for the
 * board, bounded by age and number: an id is free again after that, and the stored terminal state is what stops a
 * second run.
 */
export const turnJobOptions: JobsOptions = {
  attempts: 5,
  backoff: { type: 'exponential', delay: 500, jitter: 0.5 },
  removeOnComplete: { age: 3_600, count: 1_000 },
  removeOnFail: { age: 7 * 24 * 3_600, count: 5_000 },
};
