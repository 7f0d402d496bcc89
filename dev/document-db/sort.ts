import { CommandError } from './errors.ts';
import { leaves } from './match.ts';
import { compare, type Doc } from './values.ts';

/** A comparison of documents by a sort specification such as { a: 1, b: -1 }. */
export function compareBy(spec: Doc): (a: unknown, b: unknown) => number {
  const keys = Object.entries(spec).map(([path, direction]) => {
    if (direction !== 1 && direction !== -1)
      throw new CommandError(2, `$sort key ordering must be 1 or -1, at '${path}'`);
    return { path: path.split('.'), direction };
  });
  return (a, b) => {
    for (const { path, direction } of keys) {
      const order = compare(sortValue(a, path, direction), sortValue(b, path, direction));
      if (order !== 0) return order * direction;
    }
    return 0;
  };
}

/** Of an array the smallest element counts when ascending, the largest when descending; a missing one is null. */
function sortValue(doc: unknown, path: readonly string[], direction: number): unknown {
  const values = [...leaves(doc, path)].flatMap((leaf) =>
    Array.isArray(leaf) ? leaf : [typeof leaf === 'symbol' ? null : leaf],
  );
  if (values.length === 0) return null;
  return values.reduce((best, value) => (compare(value, best) * direction < 0 ? value : best));
}
