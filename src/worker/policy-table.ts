import { InvalidConfigError, UnknownPolicyError } from '../errors.ts';
import { type CompiledPolicy, compilePolicy, type Policies } from '../turn/policy.ts';

/** The policies of one worker, by name. */
export class PolicyTable {
  readonly #policies: ReadonlyMap<string, CompiledPolicy>;

  /** Throws InvalidConfigError for a policy that makes no sense, and when there is none. */
  constructor(policies: Policies<never>) {
    const isTable = typeof policies === 'object' && policies !== null;
    const compiled = Object.entries(isTable ? policies : {}).map(
      ([name, each]) => [name, compilePolicy(name, each)] as const,
    );
    if (compiled.length === 0)
      throw new InvalidConfigError('policies', 'must hold at least one policy, for example { default: {} }');
    const alwaysOffered = compiled.some(([, policy]) => policy.alwaysOffered);
    this.#policies = new Map(compiled.map(([name, policy]) => [name, { ...policy, alwaysOffered }]));
  }

  /** Throws UnknownPolicyError. */
  of(name: string): CompiledPolicy {
    const policy = this.#policies.get(name);
    if (policy) return policy;
    throw new UnknownPolicyError(name, [...this.#policies.keys()]);
  }
}
