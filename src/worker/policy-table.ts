import { InvalidConfigError, UnknownPolicyError } from '../errors.ts';
import { type Clock, systemClock } from '../timing/clock.ts';
import { type CompiledPolicy, compilePolicy, type Policies } from '../turn/policy.ts';

export const defaultUnknownPolicyMs = 600_000;

/** Turns that are waited for at once; of more, the one that was met first counts as met anew. */
const maxWaiting = 10_000;

/**
 * The policies of one worker, by name. A turn whose policy it does not know is left to a worker that does, as they
 * come with a deploy; for `unknownPolicyMs` by this process's own monotonic clock, so that no turn waits for ever
 * for a name that nobody has.
 */
export class PolicyTable {
  readonly #policies: ReadonlyMap<string, CompiledPolicy>;
  readonly #unknownPolicyMs: number;
  readonly #clock: Clock;
  readonly #metAt = new Map<string, number>();

  /** Throws InvalidConfigError for a policy that makes no sense, and when there is none. */
  constructor(
    policies: Policies<never>,
    { unknownPolicyMs = defaultUnknownPolicyMs, clock = systemClock } = {},
  ) {
    const isTable = typeof policies === 'object' && policies !== null;
    const compiled = Object.entries(isTable ? policies : {}).map(
      ([name, each]) => [name, compilePolicy(name, each)] as const,
    );
    if (compiled.length === 0)
      throw new InvalidConfigError('policies', 'must hold at least one policy, for example { default: {} }');
    const alwaysOffered = compiled.some(([, policy]) => policy.alwaysOffered);
    this.#policies = new Map(compiled.map(([name, policy]) => [name, { ...policy, alwaysOffered }]));
    this.#unknownPolicyMs = unknownPolicyMs;
    this.#clock = clock;
  }

  /** Throws UnknownPolicyError as long as another worker may know the name; after that, a policy that ends the turn. */
  of(name: string, turnId: string): CompiledPolicy {
    const policy = this.#policies.get(name);
    if (policy) return policy;
    const now = this.#clock.monotonicMs();
    const since = this.#metAt.get(turnId) ?? now;
    if (now - since < this.#unknownPolicyMs) {
      this.#remember(turnId, since);
      throw new UnknownPolicyError(name, [...this.#policies.keys()]);
    }
    this.#metAt.delete(turnId);
    return { ...compilePolicy(name, {}), ends: 'unknownPolicyMs' };
  }

  #remember(turnId: string, since: number): void {
    const [first] = this.#metAt.keys();
    if (this.#metAt.size >= maxWaiting && first !== undefined && !this.#metAt.has(turnId))
      this.#metAt.delete(first);
    this.#metAt.set(turnId, since);
  }
}
