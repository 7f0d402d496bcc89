import { BSONRegExp } from 'bson';
import { CommandError } from './errors.ts';
import { isOperators } from './match.ts';
import { setAt } from './update.ts';
import type { Doc } from './values.ts';

/** The document an upsert starts from: what the filter demands to be equal. Throws 54 for a field of two demands. */
export function upsertSeed(filter: Doc): Doc {
  const seed: Doc = {};
  const equalities = equalitiesOf(filter);
  for (const [at, [path, value]] of equalities.entries()) {
    const twice = equalities.some(
      ([other], index) => index !== at && (other === path || other.startsWith(`${path}.`)),
    );
    if (twice)
      throw new CommandError(54, `cannot infer query fields to set, path '${path}' is matched twice`);
    setAt(seed, path.split('.'), value);
  }
  return seed;
}

function equalitiesOf(filter: Doc): [string, unknown][] {
  return Object.entries(filter).flatMap(([key, condition]): [string, unknown][] => {
    const clauses = Array.isArray(condition) ? (condition as Doc[]) : [];
    if (key === '$and' || (key === '$or' && clauses.length === 1)) return clauses.flatMap(equalitiesOf);
    if (key.startsWith('$')) return [];
    const value = isOperators(condition) ? condition.$eq : condition;
    return value === undefined || value instanceof BSONRegExp ? [] : [[key, value]];
  });
}
