import { readFileSync } from 'node:fs';
import { cpus, loadavg, totalmem } from 'node:os';

export interface BenchResult {
  readonly bench: string;
  /** What was aimed at, in words. */
  readonly target: string;
  readonly ok: boolean;
  /** The figure that the target is about, where there is one. */
  readonly ratio?: number;
  readonly [figure: string]: unknown;
}

export interface BenchOptions {
  /** Fewer rounds, for a read. */
  readonly quick?: boolean;
}

/** The value below which the given share of the values lie. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

export const median = (values: readonly number[]): number => percentile(values, 0.5);

export const round = (value: number, digits = 3): number => Number(value.toFixed(digits));

export function machine() {
  const [first] = cpus();
  return {
    cpus: cpus().length,
    model: first?.model ?? 'unknown',
    memGiB: Math.round(totalmem() / 2 ** 30),
    node: process.version,
    /** Of the last minute, the bench's own included: what else went on here. */
    loadAverage: round(loadavg()[0] ?? Number.NaN, 1),
  };
}

export function versions(): Record<string, string> {
  const file = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  const { dependencies, devDependencies } = JSON.parse(file) as Record<string, Record<string, string>>;
  const all = { ...devDependencies, ...dependencies };
  const named = ['bullmq', 'ioredis', 'redlock', 'mongoose', '@opencode-ai/sdk'];
  return Object.fromEntries(named.map((name) => [name, all[name] ?? '']));
}
