/** A test that an engine is known to fail, by its whole name, and why that is the engine's own and not ours. */
export interface KnownGap {
  readonly engine: string;
  readonly test: string;
  readonly reason: string;
}

export const gapsOf = (table: readonly KnownGap[], engine: string): readonly KnownGap[] =>
  table.filter((gap) => gap.engine === engine);

/** For jest's `--testNamePattern`: every test but these. */
export function namePattern(gaps: readonly KnownGap[]): string {
  const names = gaps.map(({ test }) => test.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return `^(?!(?:${names.join('|')})$)`;
}
