import { z } from 'zod';
import { checkConfig } from '../checking/check-config.ts';
import { numberOrNoLimit, weekMs, wholeNumber, wholeOrNoLimit } from '../checking/numbers.ts';
import { InvalidConfigError } from '../errors.ts';

/** Bounds of one turn. Times in ms, cost in USD as upstream reports it. */
export interface TurnLimits {
  /** Hard limit from the first claim, waiting for people included. Default 30 minutes. */
  readonly turnTimeoutMs: number;
  /** From the accepted prompt to the first sign of the model. Suspended while a person is asked. Default 120 s. */
  readonly firstEventTimeoutMs: number;
  /** Without progress; heartbeats are none. Suspended while a person is asked. Default 5 minutes. */
  readonly idleTimeoutMs: number;
  /** How long a question or permission waits for a person before it is rejected. Default 10 minutes. */
  readonly inputTimeoutMs: number;
  /** How long the server may be away in one piece, whatever the turn is doing. Default 5 minutes. */
  readonly upstreamAwayMs: number;
  /** Upstream is idle and nothing moves: after this the run counts as lost. At least 2 s (two polls). Default 2.5 s. */
  readonly lostAfterMs: number;
  /**
   * How long the server may answer one question with what is no answer of OpenCode (a wrong password, a redirect, a
   * proxy's page), or with 5xx or not at all while it answers others, until the turn ends with that error. Default 60 s.
   */
  readonly wrongAnswerTimeoutMs: number;
  /** How often upstream may retry a failing model provider. Default 8. */
  readonly maxUpstreamRetries: number;
  /** The longest wait that upstream may announce before such a retry. Default 2 minutes. */
  readonly maxUpstreamRetryDelayMs: number;
  /**
   * How long a stopped run is aborted over and over until it is seen to be over; as long again when it begins that
   * late. After it the turn ends as `unconfirmed`. Also how long a prompt waits for a session that is busy. Default 20 s.
   */
  readonly cancelTimeoutMs: number;
  /** How long one call of the host's code may take: `system`, `directory`, `permissions`, a transform, a hook. Default 30 s. */
  readonly hookTimeoutMs: number;
  /** How often a run that the server lost is prompted again. Default 1; 0 with `onUpstreamLost: 'fail'`. */
  readonly maxReruns: number;
  /** Checked when a step ends or begins, sub-agents included: the one that crosses it is kept. No limit by default. */
  readonly maxCost: number;
  readonly maxTokens: number;
  /**
   * Requests to the model, those of sub-agents and compactions included, whatever they end with. The one that exceeds
   * it is stopped as it begins. Default 500.
   */
  readonly maxSteps: number;
}

const time = (defaultMs: number, description: string, leastMs = 10) =>
  wholeNumber(leastMs, weekMs).default(defaultMs).meta({ description });
const noLimit = Number.POSITIVE_INFINITY;

/** Each default and each bound of a turn's limits stands here, and nowhere else. */
export const limitsSchema = z.strictObject({
  turnTimeoutMs: time(30 * 60_000, 'a turn from its first claim, waiting for people included'),
  firstEventTimeoutMs: time(120_000, 'from the accepted prompt to the first sign of the model'),
  idleTimeoutMs: time(5 * 60_000, 'without progress'),
  inputTimeoutMs: time(10 * 60_000, 'how long a question or permission waits for a person'),
  upstreamAwayMs: time(5 * 60_000, 'how long the server may be away in one piece'),
  lostAfterMs: time(2_500, 'upstream is idle and nothing moves: after this the run counts as lost', 2_000),
  wrongAnswerTimeoutMs: time(60_000, "how long the server's answers may be none of OpenCode's"),
  maxUpstreamRetries: wholeNumber(0, 1_000).default(8).meta({
    description: 'how often upstream may retry a failing model provider',
  }),
  maxUpstreamRetryDelayMs: time(
    2 * 60_000,
    'the longest wait that upstream may announce before such a retry',
    0,
  ),
  cancelTimeoutMs: time(20_000, 'how long a stopped run is aborted until it is seen to be over'),
  hookTimeoutMs: time(30_000, "how long one call of the host's code may take"),
  maxReruns: wholeNumber(0, 100).default(1).meta({
    description: 'how often a run that the server lost is prompted again',
  }),
  maxCost: numberOrNoLimit(0, 1e9).default(noLimit).meta({ description: 'USD, as upstream reports it' }),
  maxTokens: wholeOrNoLimit(0, 1e12).default(noLimit).meta({ description: 'tokens, sub-agents included' }),
  maxSteps: wholeOrNoLimit(0, 1e6).default(500).meta({
    description: 'requests to the model, those of sub-agents and compactions included',
  }),
} satisfies Record<keyof TurnLimits, z.ZodType>);

export const defaultLimits: TurnLimits = limitsSchema.parse({});

/** Limits that end something else; one that can never be reached was meant otherwise. */
const within = [
  ['firstEventTimeoutMs', 'turnTimeoutMs'],
  ['idleTimeoutMs', 'turnTimeoutMs'],
  ['inputTimeoutMs', 'turnTimeoutMs'],
  ['lostAfterMs', 'turnTimeoutMs'],
  ['hookTimeoutMs', 'turnTimeoutMs'],
] as const;

/**
 * The limits of a policy with those that it does not say. Only what it says itself is compared: a default may stand
 * beside a shorter limit. Throws InvalidConfigError that names the limit and its bounds.
 */
export function limitsOf(setting: string, given: Partial<TurnLimits> = {}): TurnLimits {
  const limits = checkConfig(limitsSchema, given, setting);
  for (const [inner, outer] of within) {
    const [less, more] = [given[inner], given[outer]];
    if (typeof less === 'number' && typeof more === 'number' && less > more)
      throw new InvalidConfigError(`${setting}.${inner}`, `${less} is never reached: ${outer} is ${more}`);
  }
  return limits;
}
