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

/**
 * Refuses a variable under the name that it had before all had one prefix: it would be read by nobody, in silence. Throws
 * InvalidConfigError that says the name of today.
 */
export function refuseFormer(
  env: Readonly<Record<string, string | undefined>>,
  former: readonly string[],
): void {
  const found = former.find((name) => env[name]);
  if (found === undefined) return;
  const now = `OPENCODE_TURNS_${found.replace(/^(TURNS|OPENCODE)_/, '')}`;
  throw new InvalidConfigError(found, `is called ${now} now`);
}

export const formerOfWorker = [
  ...['TURNS_POLICIES', 'TURNS_CONCURRENCY', 'TURNS_SHUTDOWN_MS', 'TURNS_LOCK_MS', 'TURNS_STALLED_CHECK_MS'],
  ...['TURNS_HEALTH_PORT', 'TURNS_LOG_FORMAT', 'OPENCODE_MODEL', 'OPENCODE_AGENT'],
];
export const formerOfBoard = ['BOARD_USER', 'BOARD_PASSWORD', 'BOARD_HOST', 'BOARD_PORT', 'BOARD_BASE_PATH'];
