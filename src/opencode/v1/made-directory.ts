import type { WireSession } from '../../reply/wire.ts';

/**
 * The other folder that the server has made of the name, if it has: a `%20` that it decodes once more
 * than HTTP does, at each of its routes, or a backslash that it takes for a slash in one of two places (1.18.33). The
 * run would go on in that one, or end at once and look as if it had been lost. A link leads elsewhere rightfully.
 */
export function madeElsewhere(directory: string, { directory: made, path }: WireSession): string | undefined {
  if (made === undefined || !/[%\\]/.test(directory)) return undefined;
  const decoded = made !== directory && made === decodedOf(directory);
  const onWindows = /^[A-Za-z]:/.test(directory);
  const split = !onWindows && made === directory && path !== undefined && !directory.endsWith(path);
  if (split) return `/${path}`;
  return decoded ? made : undefined;
}

function decodedOf(directory: string): string {
  try {
    return decodeURIComponent(directory);
  } catch {
    return directory;
  }
}
