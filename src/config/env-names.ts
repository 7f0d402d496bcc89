import { didYouMean } from '../checking/nearest-name.ts';
import { InvalidConfigError } from '../errors.ts';

/**
 * Refuses a variable that begins as ours do and that nobody reads: a misspelt one would change nothing in silence.
 * Throws InvalidConfigError that names it and the nearest known one.
 */
export function checkEnvNames(
  env: Readonly<Record<string, string | undefined>>,
  prefix: string,
  known: readonly string[],
): void {
  const unknown = Object.keys(env).find((name) => name.startsWith(prefix) && !known.includes(name));
  if (unknown === undefined) return;
  const hint = didYouMean(unknown, known) || ` (known: ${known.join(', ')})`;
  throw new InvalidConfigError(unknown, `is no variable of this library${hint}`);
}
