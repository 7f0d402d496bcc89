import { CommandError } from './errors.ts';
import { clone, type Doc, isDoc } from './values.ts';

const isOn = (value: unknown) => value === 1 || value === true;
const isOff = (value: unknown) => value === 0 || value === false;

/**
 * How a document is shown by an inclusion or an exclusion. Throws for a specification that is neither:
 * expressions and positional projections are refused.
 */
export function projection(spec: Doc): (doc: Doc) => Doc {
  const fields = Object.entries(spec);
  if (fields.length === 0) return (doc) => doc;
  for (const [path, value] of fields) checkField(path, value);
  const others = fields.filter(([path]) => path !== '_id');
  refuseCollisions(others.map(([path]) => path));
  const including = others.length > 0 ? others.some(([, value]) => isOn(value)) : isOn(spec._id);
  if (others.some(([, value]) => isOn(value) !== including))
    throw new CommandError(31254, 'Cannot do exclusion in inclusion projection, or the other way round');
  const paths = others.map(([path]) => path.split('.'));
  return ({ _id, ...rest }) => {
    const shown = (including ? pick(rest, paths) : omit(rest, paths)) as Doc;
    return _id !== undefined && !isOff(spec._id) ? { _id, ...shown } : shown;
  };
}

function checkField(path: string, value: unknown): void {
  if (!isOn(value) && !isOff(value))
    throw new CommandError(2, `this server projects fields by 0 and 1 only, not '${path}'`);
  const segments = path.split('.');
  if (segments.includes('')) throw new CommandError(40352, `an empty field name in '${path}'`);
  if (segments.some((segment) => segment.startsWith('$')))
    throw new CommandError(2, `this server has no positional projection: '${path}'`);
}

function refuseCollisions(paths: readonly string[]): void {
  for (const path of paths) {
    if (paths.some((other) => other.startsWith(`${path}.`)))
      throw new CommandError(31249, `Path collision at ${path}`);
  }
}

function pick(value: unknown, paths: readonly string[][]): unknown {
  if (Array.isArray(value))
    return value.filter((item) => isDoc(item) || Array.isArray(item)).map((item) => pick(item, paths));
  if (!isDoc(value)) return undefined;
  const entries = Object.entries(value).flatMap(([key, item]): [string, unknown][] => {
    const inside = paths.filter(([first]) => first === key).map(([, ...rest]) => rest);
    if (inside.length === 0) return [];
    if (inside.some((rest) => rest.length === 0)) return [[key, clone(item)]];
    const picked = pick(item, inside);
    return picked === undefined ? [] : [[key, picked]];
  });
  return Object.fromEntries(entries);
}

function omit(value: unknown, paths: readonly string[][]): unknown {
  if (Array.isArray(value)) return value.map((item) => omit(item, paths));
  if (!isDoc(value)) return value;
  const entries = Object.entries(value).flatMap(([key, item]): [string, unknown][] => {
    const inside = paths.filter(([first]) => first === key).map(([, ...rest]) => rest);
    if (inside.some((rest) => rest.length === 0)) return [];
    return [[key, inside.length === 0 ? clone(item) : omit(item, inside)]];
  });
  return Object.fromEntries(entries);
}
