import { CommandError } from './errors.ts';
import { clone, type Doc, isDoc } from './values.ts';

const isOn = (value: unknown) => value === 1 || value === true;
const isOff = (value: unknown) => value === 0 || value === false;

/** A document as an inclusion or exclusion shows it. Expressions and positional projections are refused. */
export function project(doc: Doc, spec: Doc | undefined): Doc {
  const fields = Object.entries(spec ?? {});
  if (fields.length === 0) return doc;
  for (const [path, value] of fields) {
    if (!isOn(value) && !isOff(value))
      throw new CommandError(2, `this server projects fields by 0 and 1 only, not '${path}'`);
  }
  const others = fields.filter(([path]) => path !== '_id');
  const including = others.length > 0 ? others.some(([, value]) => isOn(value)) : isOn(spec?._id);
  if (others.some(([, value]) => isOn(value) !== including)) {
    throw new CommandError(31254, 'Cannot do exclusion in inclusion projection, or the other way round');
  }
  const paths = others.map(([path]) => path.split('.'));
  const { _id, ...rest } = doc;
  const shown = including ? (pick(rest, paths) as Doc) : (omit(rest, paths) as Doc);
  return '_id' in doc && !isOff(spec?._id) ? { _id, ...shown } : shown;
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
