import { UnusableDirectoryError } from '../errors.ts';
import type { WireSession } from '../reply/wire.ts';

/**
 * Throws UnusableDirectoryError when the server has made another folder of the name: a `%20` that it decodes once more
 * than HTTP does, at each of its routes, or a backslash that it takes for a slash in one of two places (1.18.33). The
 * run would go on in that one, or end at once and look as if it had been lost. A link leads elsewhere rightfully.
 */
export function checkMade(directory: string, { directory: made, path }: WireSession): void {
  if (made === undefined || !/[%\\]/.test(directory)) return;
  const decoded = made !== directory && made === decodedOf(directory);
  const onWindows = /^[A-Za-z]:/.test(directory);
  const split = !onWindows && made === directory && path !== undefined && !directory.endsWith(path);
  if (decoded || split) throw new UnusableDirectoryError(directory, split ? `/${path}` : made);
}

function decodedOf(directory: string): string {
  try {
    return decodeURIComponent(directory);
  } catch {
    return directory;
  }
}
