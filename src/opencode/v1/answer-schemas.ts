import { z } from 'zod';
import type { WireMessage, WireSession, WireSessionStatus } from '../../reply/wire.ts';

// What is used of an answer must be there; everything else passes through as it is.
export const session = z.looseObject({
  id: z.string().startsWith('ses'),
}) as unknown as z.ZodType<WireSession>;
export const message = z.looseObject({
  info: z.looseObject({
    id: z.string(),
    sessionID: z.string(),
    role: z.enum(['user', 'assistant']),
    time: z.looseObject({ created: z.number(), completed: z.number().optional() }),
  }),
  parts: z.array(
    z.looseObject({ id: z.string(), sessionID: z.string(), messageID: z.string(), type: z.string() }),
  ),
}) as unknown as z.ZodType<WireMessage>;
export const status = z.looseObject({
  type: z.enum(['idle', 'busy', 'retry']),
}) as unknown as z.ZodType<WireSessionStatus>;
export const request = z.looseObject({ id: z.string(), sessionID: z.string() });
export const providers = z
  .looseObject({ providers: z.array(z.looseObject({ id: z.string() })) })
  .transform((answer) => answer.providers.map(({ id }) => id)) as unknown as z.ZodType<readonly string[]>;
/** A directory's instance keeps what its project was when it began; that is written then, and told as its last update. */
export const instance = z
  .looseObject({ time: z.looseObject({ updated: z.number() }) })
  .transform(({ time }) => time.updated) as unknown as z.ZodType<number>;
/** 204. */
export const empty = z.undefined();
/** What OpenCode answers to the rest once it is done (1.18.33). */
export const accepted = z.literal(true);
export const health = z.looseObject({ healthy: z.literal(true), version: z.string() });
