/** Update documents: replacement or operators, with positional paths. Works on a copy that the caller owns. */
import { BSONRegExp, Decimal128, Long } from 'bson';
import { CommandError } from './errors.ts';
import { isOperators, matchedIndex, matches } from './match.ts';
import { numberOf } from './numbers.ts';
import { compareBy } from './sort.ts';
import { clone, compare, type Doc, equal, isDoc, isOfType } from './values.ts';

export interface UpdateContext {
  readonly filter: Doc;
  readonly arrayFilters: readonly Doc[];
  /** The document is being inserted by an upsert. */
  readonly inserting: boolean;
}

type Parent = Doc | unknown[];
type Operator = (parent: Parent, key: string | number, operand: unknown, path: string) => void;

const read = (parent: Parent, key: string | number) => (parent as Record<string | number, unknown>)[key];
const has = (parent: Parent, key: string | number) => Object.hasOwn(parent, key);
const write = (parent: Parent, key: string | number, value: unknown) => {
  if (Array.isArray(parent)) while (parent.length < Number(key)) parent.push(null);
  // Defined, not assigned: a field may have any name, `__proto__` too.
  Object.defineProperty(parent, key, { value, enumerable: true, configurable: true, writable: true });
};

const operators: Record<string, Operator> = {
  $set: (parent, key, operand) => write(parent, key, clone(operand)),
  $setOnInsert: (parent, key, operand) => write(parent, key, clone(operand)),
  $inc: (parent, key, operand, path) =>
    write(parent, key, add(has(parent, key) ? read(parent, key) : 0, operand, path)),
  $min: (parent, key, operand) => {
    if (!has(parent, key) || compare(operand, read(parent, key)) < 0) write(parent, key, operand);
  },
  $max: (parent, key, operand) => {
    if (!has(parent, key) || compare(operand, read(parent, key)) > 0) write(parent, key, operand);
  },
  $unset: (parent, key) => {
    if (!has(parent, key)) return;
    if (Array.isArray(parent)) parent[Number(key)] = null;
    else delete parent[key];
  },
  $currentDate: (parent, key, operand) => write(parent, key, operand),
  $push: (parent, key, operand, path) => push(arrayAt(parent, key, '$push', path), operand),
  $addToSet: (parent, key, operand, path) => {
    const array = arrayAt(parent, key, '$addToSet', path);
    const items = isDoc(operand) && Array.isArray(operand.$each) ? operand.$each : [operand];
    for (const item of items) if (!array.some((known) => equal(known, item))) array.push(clone(item));
  },
  $pull: (parent, key, operand, path) => {
    if (!has(parent, key)) return;
    const kept = arrayAt(parent, key, '$pull', path).filter((item) => !pulled(item, operand));
    write(parent, key, kept);
  },
};

/** Operators that make nothing on their way to a field that is not there. */
const passive = new Set(['$unset', '$pull']);

/**
 * The updated document, by an update that `checkUpdate` has looked at. Throws CommandError with MongoDB's code when
 * it does not fit the document, which is never changed itself.
 */
export function applyUpdate(original: Doc, update: Doc, context: UpdateContext): Doc {
  if (!isOperators(update)) return replace(original, update);
  const doc = clone(original);
  // One time for all fields of one update, as MongoDB has it.
  const now = new Date();
  for (const [name, fields] of Object.entries(update)) {
    if (name === '$setOnInsert' && !context.inserting) continue;
    const operator = operators[name];
    for (const [path, operand] of Object.entries(fields as Doc)) {
      if (!operator) renameField(doc, path, String(operand));
      else
        for (const concrete of expand(doc, path, context))
          apply(doc, concrete, operator, name === '$currentDate' ? now : operand, passive.has(name));
    }
  }
  if ('_id' in original && !equal(doc._id, original._id)) throw immutableId();
  return doc;
}

/** Sets a field of a document that the caller owns. */
export function setAt(doc: Doc, path: readonly string[], value: unknown): void {
  apply(doc, path, operators.$set as Operator, value, false);
}

const immutableId = () =>
  new CommandError(66, "Performing an update on the path '_id' would modify the immutable field '_id'");

function replace(original: Doc, update: Doc): Doc {
  if ('_id' in update && '_id' in original && !equal(update._id, original._id)) throw immutableId();
  const { _id = update._id } = original;
  const { _id: _ignored, ...rest } = update;
  return clone(_id === undefined ? rest : { _id, ...rest });
}

/** Walks to the parent of a path, making documents on the way unless `passive`. */
function apply(
  doc: Doc,
  path: readonly string[],
  operator: Operator,
  operand: unknown,
  isPassive: boolean,
): void {
  let parent: Parent = doc;
  for (const [at, field] of path.slice(0, -1).entries()) {
    const key = Array.isArray(parent) ? indexOf(field, path) : field;
    if (!has(parent, key)) {
      if (isPassive) return;
      write(parent, key, {});
    }
    const next = read(parent, key);
    if (!isDoc(next) && !Array.isArray(next)) {
      if (isPassive) return;
      throw new CommandError(
        28,
        `Cannot create field '${path[at + 1]}' in element {${field}: ${JSON.stringify(next)}}`,
      );
    }
    parent = next;
  }
  const last = path.at(-1) ?? '';
  operator(parent, Array.isArray(parent) ? indexOf(last, path) : last, operand, path.join('.'));
}

function indexOf(field: string, path: readonly string[]): number {
  if (/^\d{1,6}$/.test(field)) return Number(field);
  throw new CommandError(28, `Cannot create field '${field}' in an array at '${path.join('.')}'`);
}

/** Paths with `$`, `$[]` and `$[name]` as the concrete paths they stand for in this document. */
function expand(doc: Doc, path: string, context: UpdateContext): string[][] {
  let paths: string[][] = [[]];
  for (const field of path.split('.')) {
    paths = paths.flatMap((prefix) =>
      (field.startsWith('$') ? positions(doc, prefix, field, context) : [field]).map((key) => [
        ...prefix,
        key,
      ]),
    );
  }
  return paths;
}

function positions(
  doc: Doc,
  prefix: readonly string[],
  field: string,
  { filter, arrayFilters }: UpdateContext,
): string[] {
  const array = prefix.reduce<unknown>((value, key) => (value as Parent | undefined)?.[key as never], doc);
  if (field === '$') {
    const at = matchedIndex(doc, prefix.join('.'), filter);
    if (at === undefined)
      throw new CommandError(2, 'The positional operator did not find the match needed from the query.');
    return [String(at)];
  }
  if (!Array.isArray(array))
    throw new CommandError(
      2,
      `The path '${prefix.join('.')}' must exist in the document in order to apply array updates.`,
    );
  const indexes = [...array.keys()].map(String);
  const name = field.slice(2, -1);
  const condition = arrayFilters.find((one) =>
    Object.keys(one).some((key) => key === name || key.startsWith(`${name}.`)),
  );
  if (!condition) return indexes;
  return indexes.filter((at) => matches({ [name]: array[Number(at)] }, condition));
}

function add(value: unknown, by: unknown, path: string): unknown {
  if (value instanceof Decimal128) throw new CommandError(2, 'this server does no arithmetic on Decimal128');
  if (!isOfType(value, 'number'))
    throw new CommandError(14, `Cannot apply $inc to a value of non-numeric type at '${path}'`);
  const [a, b] = [numberOf(value), numberOf(by)];
  const whole = [a, b].every((one) => typeof one === 'bigint' || Number.isSafeInteger(one));
  const sum = Number(a) + Number(b);
  if (!whole || (typeof a === 'number' && typeof b === 'number' && Number.isSafeInteger(sum))) return sum;
  const exact = BigInt(a) + BigInt(b);
  if (BigInt.asIntN(64, exact) !== exact)
    throw new CommandError(2, `Failed to apply $inc: integer overflow at '${path}'`);
  return Long.fromBigInt(exact);
}

function arrayAt(parent: Parent, key: string | number, operator: string, path: string): unknown[] {
  if (!has(parent, key)) write(parent, key, []);
  const array = read(parent, key);
  if (!Array.isArray(array))
    throw new CommandError(2, `Cannot apply ${operator} to a non-array field: '${path}'`);
  return array;
}

function push(array: unknown[], operand: unknown): void {
  if (!isDoc(operand) || !('$each' in operand)) {
    array.push(clone(operand));
    return;
  }
  const { $each, $position, $sort, $slice } = operand;
  const at = typeof $position === 'number' ? $position : array.length;
  array.splice(at, 0, ...($each as unknown[]).map(clone));
  if ($sort !== undefined)
    array.sort(isDoc($sort) ? compareBy($sort) : (a, b) => compare(a, b) * Number($sort));
  if (typeof $slice !== 'number') return;
  const kept = $slice < 0 ? array.slice($slice) : array.slice(0, $slice);
  array.splice(0, array.length, ...kept);
}

function pulled(item: unknown, condition: unknown): boolean {
  if (isOperators(condition) || condition instanceof BSONRegExp)
    return matches({ value: item }, { value: condition });
  return isDoc(condition) && isDoc(item) ? matches(item, condition) : equal(item, condition);
}

function renameField(doc: Doc, from: string, to: string): void {
  if (!Object.hasOwn(doc, from)) return;
  write(doc, to, doc[from]);
  delete doc[from];
}
