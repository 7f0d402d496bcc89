/**
 * Under which names files that strangers named are attached, and which names pass for one another. Pure.
 */
import { basename } from 'node:path/posix';

/** Format and control characters, which do not show, and what some systems drop from the end of a name. */
const unseen = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{M}]/gu;
const dropped = /[\s.]/;

/**
 * What a name looks like to a person or to a file system that folds case. Two names that give the same are taken
 * for one another, so a file may wear a transform's name only if it comes from that transform. Marks on letters
 * count as nothing, which refuses a few names too many and none too few.
 */
export function apparentName(filename: string): string {
  const name = filename.normalize('NFKD').replace(unseen, '').toLowerCase();
  // Not by one pattern with an end: it would go over a run of spaces again from each of them.
  let end = name.length;
  while (end > 0 && dropped.test(name.charAt(end - 1))) end -= 1;
  return name.slice(0, end).trim();
}

/**
 * A name for each path (relative, with slashes): its last part, unless another path ends alike. Then a path in a
 * folder gives its folders too, joined by `__`, and a number when that is taken as well. The order of the
 * paths does not matter to those that are alone with their name.
 */
export function attachmentNames(paths: readonly string[]): ReadonlyMap<string, string> {
  const count = new Map<string, number>();
  for (const path of paths) count.set(basename(path), (count.get(basename(path)) ?? 0) + 1);
  const names = new Map<string, string>();
  const taken = new Set<string>();
  const take = (path: string, name: string) => {
    names.set(path, name);
    taken.add(name);
  };
  const alone = (path: string) => count.get(basename(path)) === 1 || !path.includes('/');
  for (const path of paths) if (alone(path)) take(path, basename(path));
  for (const path of [...paths].sort()) {
    if (names.has(path)) continue;
    const name = path.replaceAll('/', '__');
    let free = name;
    for (let number = 2; taken.has(free); number += 1) free = `${number}__${name}`;
    take(path, free);
  }
  return names;
}
