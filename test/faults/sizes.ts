/**
 * How much is tried: a sample in `npm test`, more in `npm run test:faults`, which also runs what stands in `long`,
 * and every point with `--all`.
 * FAULTS_SEED repeats a run's choice; FAULTS_MINUTES is how long services come and go.
 */
export interface Sizes {
  /** Kill points tried; each is one worker process killed. */
  readonly killPoints: number;
  readonly lanes: number;
  /** Answers replaced; each is one turn. */
  readonly replyPoints: number;
  readonly soakMinutes: number;
  readonly storm: { readonly turns: number; readonly conversations: number; readonly workers: number };
  readonly awayMs: readonly number[];
  /** How late the events of a delayed stream come. */
  readonly lateMs: readonly number[];
}

const table = {
  sample: {
    killPoints: 4,
    lanes: 2,
    replyPoints: 12,
    soakMinutes: 0.5,
    storm: { turns: 60, conversations: 6, workers: 2 },
    awayMs: [1_500],
    lateMs: [1_000],
  },
  more: {
    killPoints: 40,
    lanes: 2,
    replyPoints: 110,
    soakMinutes: 2,
    storm: { turns: 1_000, conversations: 50, workers: 4 },
    awayMs: [1_000, 10_000, 60_000],
    lateMs: [1_000, 30_000],
  },
  all: {
    killPoints: Number.POSITIVE_INFINITY,
    lanes: 3,
    replyPoints: Number.POSITIVE_INFINITY,
    soakMinutes: 30,
    storm: { turns: 1_000, conversations: 50, workers: 4 },
    awayMs: [1_000, 10_000, 60_000],
    lateMs: [1_000, 30_000],
  },
} satisfies Record<string, Sizes>;

const { FAULTS = 'sample', FAULTS_MINUTES } = process.env;
export const sizes: Sizes = {
  ...(table[FAULTS as keyof typeof table] ?? table.sample),
  ...(FAULTS_MINUTES ? { soakMinutes: Number(FAULTS_MINUTES) } : {}),
};
/** What the names of the answers to be replaced have in them. */
export const only = process.env.FAULTS_ONLY ?? '';
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
