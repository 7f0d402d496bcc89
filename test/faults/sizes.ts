/**
 * How much is tried: a sample in `npm test`, more in `npm run test:faults`, every point with `--all`.
 * FAULTS_SEED repeats a run's choice.
 */
export interface Sizes {
  /** Kill points tried; each is one worker process killed. */
  readonly killPoints: number;
  readonly lanes: number;
  readonly storm: { readonly turns: number; readonly records: number; readonly workers: number };
  readonly awayMs: readonly number[];
  /** Whether workers with wrong clocks are tried. */
  readonly clocks: boolean;
  /** How late the events of a delayed stream come. */
  readonly lateMs: readonly number[];
}

const table = {
  sample: {
    killPoints: 4,
    lanes: 2,
    storm: { turns: 20, records: 5, workers: 2 },
    awayMs: [1_500],
    lateMs: [1_000],
    clocks: false,
  },
  more: {
    killPoints: 40,
    lanes: 2,
    storm: { turns: 1_000, records: 50, workers: 4 },
    awayMs: [1_000, 10_000, 60_000],
    lateMs: [1_000, 30_000],
    clocks: true,
  },
  all: {
    killPoints: Number.POSITIVE_INFINITY,
    lanes: 3,
    storm: { turns: 1_000, records: 50, workers: 4 },
    awayMs: [1_000, 10_000, 60_000],
    lateMs: [1_000, 30_000],
    clocks: true,
  },
} satisfies Record<string, Sizes>;

export const sizes: Sizes = table[(process.env.FAULTS ?? 'sample') as keyof typeof table] ?? table.sample;
export const seed = Number(process.env.FAULTS_SEED ?? Date.now() % 1_000_000);

/** A small generator (mulberry32): the same numbers in [0, 1) for the same seed. */
export function seeded(from: number): () => number {
  let state = from;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

export function shuffled<T>(items: readonly T[], random: () => number): T[] {
  const keyed = items.map((item) => ({ item, key: random() }));
  return keyed.sort((a, b) => a.key - b.key).map(({ item }) => item);
}
