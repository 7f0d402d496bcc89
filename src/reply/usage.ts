import type { TokenUsage, Usage } from './part.ts';
import type { WirePart, WireTokens } from './wire.ts';

export const noTokens: TokenUsage = { input: 0, output: 0, reasoning: 0, cacheRead: 0, cacheWrite: 0 };

interface Step {
  readonly cost: number;
  readonly tokens: TokenUsage;
  readonly child: boolean;
}

/** Cost and tokens of a turn: each step-finish part counts once, whoever tells it and how often. */
export class UsageCounter {
  readonly #steps = new Map<string, Step>();

  /** True when the part was a step that had not been counted yet. */
  add(part: WirePart, child = false): boolean {
    if (part.type !== 'step-finish' || this.#steps.has(part.id)) return false;
    this.#steps.set(part.id, { cost: finite(part.cost), tokens: tokensOf(part.tokens), child });
    return true;
  }

  get total(): Usage {
    const steps = [...this.#steps.values()];
    const children = steps.filter(({ child }) => child);
    return {
      ...sum(steps),
      cost: costOf(steps),
      steps: steps.length - children.length,
      children: { cost: costOf(children), tokens: sum(children) },
    };
  }
}

const costOf = (steps: readonly Step[]) => steps.reduce((total, { cost }) => total + cost, 0);

function sum(steps: readonly Step[]): TokenUsage {
  const total = { ...noTokens } as Record<keyof TokenUsage, number>;
  for (const { tokens } of steps) {
    for (const key of Object.keys(total) as (keyof TokenUsage)[]) total[key] += tokens[key];
  }
  return total;
}

function tokensOf(value: unknown): TokenUsage {
  const tokens = (typeof value === 'object' && value !== null ? value : {}) as Partial<WireTokens>;
  return {
    input: finite(tokens.input),
    output: finite(tokens.output),
    reasoning: finite(tokens.reasoning),
    cacheRead: finite(tokens.cache?.read),
    cacheWrite: finite(tokens.cache?.write),
  };
}

const finite = (value: unknown) => (typeof value === 'number' && Number.isFinite(value) ? value : 0);
