import { apparentName } from '../artifacts/attachment-names.ts';
import { Transform } from '../artifacts/transform.ts';
import { InvalidConfigError } from '../errors.ts';
import type { Exchange } from '../reply/exchange.ts';
import type { PermissionRule } from './ports.ts';
import type { TurnRecord } from './stored-turn.ts';
import type { TurnOutcome } from './turn-outcome.ts';

/** Bounds of one turn. Times in ms, cost in USD as upstream reports it. */
export interface TurnLimits {
  /** Hard limit from the first claim, waiting for people included. Default 30 minutes. */
  readonly turnTimeoutMs: number;
  /** From the accepted prompt to the first sign of the model. Suspended while a prompt waits. Default 120 s. */
  readonly firstEventTimeoutMs: number;
  /** Without progress; heartbeats are none. Suspended while a prompt waits. Default 5 minutes. */
  readonly idleTimeoutMs: number;
  /** How long a question or permission waits for a person before it is rejected. Default 10 minutes. */
  readonly promptTimeoutMs: number;
  /** Upstream is idle and nothing moves: after this the run counts as lost. At least 2 s (two looks). Default 2.5 s. */
  readonly lostAfterMs: number;
  /** How often upstream may retry a failing model provider. Default 8. */
  readonly maxUpstreamRetries: number;
  /** The longest wait that upstream may announce before such a retry. Default 2 minutes. */
  readonly maxUpstreamRetryDelayMs: number;
  /** A cancelled run must be idle within this time after the abort. Default 10 s. */
  readonly cancelTimeoutMs: number;
  /** How often a run that the server lost is prompted again. Default 1; 0 with `onUpstreamLost: 'fail'`. */
  readonly maxReruns: number;
  /** Checked at each step boundary, sub-agents included. No limit by default. */
  readonly maxCost: number;
  readonly maxTokens: number;
  readonly maxSteps: number;
}

export const defaultLimits: TurnLimits = {
  turnTimeoutMs: 30 * 60_000,
  firstEventTimeoutMs: 120_000,
  idleTimeoutMs: 5 * 60_000,
  promptTimeoutMs: 10 * 60_000,
  lostAfterMs: 2_500,
  maxUpstreamRetries: 8,
  maxUpstreamRetryDelayMs: 2 * 60_000,
  cancelTimeoutMs: 10_000,
  maxReruns: 1,
  maxCost: Number.POSITIVE_INFINITY,
  maxTokens: Number.POSITIVE_INFINITY,
  maxSteps: Number.POSITIVE_INFINITY,
};

/**
 * A product's rules, registered by name in the worker; jobs carry the name. Functions get the record as it is
 * stored at that moment. A hook that throws is reported and changes nothing.
 */
export interface TurnPolicy {
  /** An agent that the server knows. An unknown one ends the turn with upstream's error. */
  readonly agent?: string;
  /** `provider/model`. Without it the server's default is used. */
  readonly model?: string;
  readonly variant?: string;
  /** Appended to the system prompt of this turn. */
  readonly system?: string | ((record: TurnRecord) => string | Promise<string>);
  /** Rules of a new session; `ask` rules are not inherited by sub-agents, `deny` rules are. */
  readonly permissions?: readonly PermissionRule[] | ((record: TurnRecord) => readonly PermissionRule[]);
  /** The agent's working directory. Default: a folder of the sandbox root named after the record's id. */
  readonly directory?: (record: TurnRecord) => string;
  readonly limits?: Partial<TurnLimits>;
  /** The server was restarted and lost the run: ask once more (default), or end with what is there. */
  readonly onUpstreamLost?: 'rerun' | 'fail';
  /** Rules that turn files of the agent into files that may be trusted, and guard their names. */
  readonly transforms?: readonly Transform[];
  /**
   * Whether files that no tool call names, and that lie in the agent's directory, are attached. Default `all`; with a
   * `directory` of the host's own `none`, since records may share it.
   */
  readonly defaultAttach?: 'all' | 'none';
  /** What people see when a turn ends without text. Default: a neutral sentence. */
  readonly fallbackText?: string;
  /** Called once, after the terminal state of a completed turn is durable. */
  readonly onFinalized?: (outcome: TurnOutcome, exchange: Exchange) => void | Promise<void>;
  /** Called once per turn by the worker that finished it, after the terminal state is durable. */
  readonly onTurnFinished?: (outcome: TurnOutcome) => void | Promise<void>;
}

export interface CompiledPolicy
  extends Omit<TurnPolicy, 'limits' | 'model' | 'fallbackText' | 'transforms' | 'defaultAttach'> {
  readonly name: string;
  readonly limits: TurnLimits;
  readonly model?: { readonly providerID: string; readonly modelID: string };
  readonly fallbackText: string;
  readonly onUpstreamLost: 'rerun' | 'fail';
  readonly transforms: readonly Transform[];
  readonly defaultAttach: 'all' | 'none';
  /** The name of the limit that ends each of its turns before it does anything; none as a rule. */
  readonly ends?: string;
}

/** Checks a policy at registration. Throws InvalidConfigError that names the field. */
export function compilePolicy(name: string, policy: TurnPolicy): CompiledPolicy {
  const { limits, model, ...rest } = policy;
  return {
    onUpstreamLost: 'rerun',
    defaultAttach: policy.directory === undefined ? 'all' : 'none',
    fallbackText: 'The assistant could not finish this answer.',
    ...rest,
    name,
    limits: compileLimits(name, limits ?? {}),
    transforms: checkTransforms(name, policy.transforms ?? []),
    ...(model === undefined ? {} : { model: parseModel(name, model) }),
  };
}

/** Two transforms that own one name could not tell their files apart. */
function checkTransforms(name: string, transforms: readonly Transform[]): readonly Transform[] {
  const setting = `policies.${name}.transforms`;
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
  return transforms;
}

function compileLimits(name: string, limits: Partial<TurnLimits>): TurnLimits {
  for (const [key, value] of Object.entries(limits)) {
    const setting = `policies.${name}.limits.${key}`;
    if (!(key in defaultLimits)) {
      throw new InvalidConfigError(setting, `unknown limit; known: ${Object.keys(defaultLimits).join(', ')}`);
    }
    if (typeof value !== 'number' || Number.isNaN(value) || value < 0) {
      throw new InvalidConfigError(setting, `must be a number of at least 0, not ${String(value)}`);
    }
  }
  return { ...defaultLimits, ...limits };
}

/** `provider/model`; the model's own id may contain slashes. */
export function parseModel(name: string, model: string): { providerID: string; modelID: string } {
  const at = model.indexOf('/');
  if (at < 1 || at === model.length - 1) {
    throw new InvalidConfigError(`policies.${name}.model`, `"${model}" is not of the form provider/model`);
  }
  return { providerID: model.slice(0, at), modelID: model.slice(at + 1) };
}
