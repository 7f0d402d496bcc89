import type { TokenUsage, Usage } from './part.ts';
import type { WirePart, WireTokens } from './wire.ts';

export const noTokens: TokenUsage = { input: 0, output: 0, reasoning: 0, cacheRead: 0, cacheWrite: 0 };

const kinds = Object.keys(noTokens) as (keyof TokenUsage)[];

class Sum {
  cost = 0;
  steps = 0;
  readonly tokens = { ...noTokens } as Record<keyof TokenUsage, number>;

  add(part: WirePart): void {
    const tokens = tokensOf(part.tokens);
    this.cost += finite(part.cost);
    this.steps += 1;
    for (const kind of kinds) this.tokens[kind] += tokens[kind];
  }
}

/** Cost and tokens of a turn: each step-finish part counts once, whoever tells it and how often. */
export class UsageCounter {
  readonly #counted = new Set<string>();
  readonly #own = new Sum();
  readonly #children = new Sum();

  /** True when the part was a step that had not been counted yet. */
  add(part: WirePart, child = false): boolean {
    if (part.type !== 'step-finish' || this.#counted.has(part.id)) return false;
    this.#counted.add(part.id);
    (child ? this.#children : this.#own).add(part);
    return true;
  }

  get total(): Usage {
    const { tokens: own } = this.#own;
    const { tokens: theirs } = this.#children;
    return {
      input: own.input + theirs.input,
      output: own.output + theirs.output,
      reasoning: own.reasoning + theirs.reasoning,
      cacheRead: own.cacheRead + theirs.cacheRead,
      cacheWrite: own.cacheWrite + theirs.cacheWrite,
      cost: dollars(this.#own.cost + this.#children.cost),
      steps: this.#own.steps,
      children: { cost: dollars(this.#children.cost), tokens: { ...theirs } },
    };
  }
}

/** Sums of binary fractions drift; a ten-billionth of a dollar is exact enough for any price list. */
const dollars = (cost: number) => Math.round(cost * 1e10) / 1e10;

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
