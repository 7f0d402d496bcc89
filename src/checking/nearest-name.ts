/** Longer names than this are no slip of the pen, and comparing them would cost time. */
const maxLength = 60;

/**
 * The known name that somebody may have meant: the nearest one by slips of the pen (a letter too many, missing,
 * wrong, or two swapped), of at most a third of the name's length. Undefined when none is near.
 */
export function nearestName(given: string, known: readonly string[]): string | undefined {
  if (given.length > maxLength) return undefined;
  const far = Math.max(1, Math.floor(given.length / 3)) + 1;
  let best: { name: string; slips: number } | undefined;
  for (const name of known) {
    const slips = slipsBetween(given.toLowerCase(), name.toLowerCase());
    if (slips < (best?.slips ?? far)) best = { name, slips };
  }
  return best?.name;
}

/** ` (did you mean "x"?)`, or nothing: the end of a sentence about a name that nobody knows. */
export function didYouMean(given: string, known: readonly string[]): string {
  const name = nearestName(given, known);
  return name === undefined ? '' : `; did you mean "${name}"?`;
}

/** Optimal string alignment distance. */
function slipsBetween(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const wrong = a[i - 1] === b[j - 1] ? 0 : 1;
      let slips = Math.min(at(last, j) + 1, at(row, j - 1) + 1, at(last, j - 1) + wrong);
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (swapped) slips = Math.min(slips, at(before, j - 2) + 1);
      row.push(slips);
    }
    before = last;
    last = row;
  }
  return at(last, b.length);
}

const at = (row: readonly number[], index: number) => row[index] ?? Number.POSITIVE_INFINITY;
