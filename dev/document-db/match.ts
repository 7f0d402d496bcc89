/** Holds documents against filters, which `checkFilter` has looked at before. */
import { BSONRegExp } from 'bson';
import { CommandError } from './errors.ts';
import { toRegex } from './regex.ts';
import { compare, type Doc, equal, isDoc, isOfType, rankOf } from './values.ts';

/** What a path leads to when a field on it is not there. */
const missing = Symbol('missing');

/**
 * All values that a dotted path leads to: through documents, through the documents of an array, and to an
 * element by its number. Arrays directly inside arrays are not entered by name.
 */
export function* leaves(value: unknown, path: readonly string[], at = 0): Generator<unknown> {
  const field = path[at];
  if (field === undefined) {
    yield value;
  } else if (Array.isArray(value)) {
    if (/^\d+$/.test(field) && Number(field) < value.length)
      yield* leaves(value[Number(field)], path, at + 1);
    for (const item of value) if (isDoc(item)) yield* leaves(item, path, at);
  } else if (isDoc(value) && Object.hasOwn(value, field)) {
    yield* leaves(value[field], path, at + 1);
  } else {
    yield missing;
  }
}

type Test = (leaf: unknown, operand: unknown, siblings: Doc) => boolean;

const some = (leaf: unknown, test: (value: unknown) => boolean) =>
  test(leaf) || (Array.isArray(leaf) && leaf.some((item) => test(item)));

const present = (leaf: unknown) => (leaf === missing ? null : leaf);

/** Values of other types never match an order, except null, which equals what is missing. */
const ordered =
  (holds: (order: number) => boolean): Test =>
  (leaf, operand) =>
    some(present(leaf), (value) => rankOf(value) === rankOf(operand) && holds(compare(value, operand)));

const isExactly: Test = (leaf, operand) => some(present(leaf), (value) => equal(value, operand));

/** A regex where a value stands: the strings that it finds, and itself. */
const isEqual: Test = (leaf, operand, siblings) => {
  if (!(operand instanceof BSONRegExp)) return isExactly(leaf, operand, siblings);
  const regex = toRegex(operand, undefined);
  return some(present(leaf), (value) =>
    typeof value === 'string' ? regex.test(value) : equal(value, operand),
  );
};

/** Tests of one value that a path leads to; a condition holds when it holds for any of them. */
const tests: Record<string, Test> = {
  $eq: isExactly,
  $gt: ordered((order) => order > 0),
  $gte: ordered((order) => order >= 0),
  $lt: ordered((order) => order < 0),
  $lte: ordered((order) => order <= 0),
  $in: (leaf, operand) => (operand as unknown[]).some((item) => isEqual(leaf, item, {})),
  $exists: (leaf) => leaf !== missing,
  $type: (leaf, operand) =>
    leaf !== missing &&
    (Array.isArray(operand) ? operand : [operand]).some((type) =>
      type === 'array' || type === 4
        ? Array.isArray(leaf)
        : some(leaf, (value) => value !== undefined && isOfType(value, type)),
    ),
  $size: (leaf, operand) => Array.isArray(leaf) && leaf.length === operand,
  $all: (leaf, operand) =>
    (operand as unknown[]).length > 0 &&
    (operand as unknown[]).every((item) =>
      isDoc(item) && '$elemMatch' in item ? elemMatch(leaf, item.$elemMatch) : isEqual(leaf, item, {}),
    ),
  $elemMatch: (leaf, operand) => elemMatch(leaf, operand),
  $regex: (leaf, operand, { $options }) => {
    const regex = toRegex(operand, $options);
    return some(leaf, (value) => typeof value === 'string' && regex.test(value));
  },
};

/** Conditions that hold when another one does not hold for any value. */
const negations: Record<string, (leafs: readonly unknown[], operand: unknown) => boolean> = {
  $ne: (leafs, operand) => leafs.some((leaf) => isExactly(leaf, operand, {})),
  $nin: (leafs, operand) =>
    (operand as unknown[]).some((item) => leafs.some((leaf) => isEqual(leaf, item, {}))),
  $not: (leafs, operand) =>
    operand instanceof BSONRegExp ? leafs.some((leaf) => isEqual(leaf, operand, {})) : holds(leafs, operand),
};

export const isKnownOperator = (name: string): boolean =>
  name === '$options' || Object.hasOwn(tests, name) || Object.hasOwn(negations, name);

export function isOperators(value: unknown): value is Doc {
  return isDoc(value) && Object.keys(value).some((key) => key.startsWith('$'));
}

/** Whether the values of a path satisfy a condition: operators, or a value to equal. */
function holds(leafs: readonly unknown[], condition: unknown): boolean {
  if (!isOperators(condition)) return leafs.some((leaf) => isEqual(leaf, condition, {}));
  return Object.entries(condition).every(([operator, operand]) => {
    if (operator === '$options') return true;
    const negation = Object.hasOwn(negations, operator) ? negations[operator] : undefined;
    if (negation) return !negation(leafs, operand);
    const test = Object.hasOwn(tests, operator) ? tests[operator] : undefined;
    if (!test) throw new CommandError(2, `unknown operator: ${operator}`);
    const found = leafs.some((leaf) => test(leaf, operand, condition));
    return operator === '$exists' ? found === isTrue(operand) : found;
  });
}

const isTrue = (value: unknown) => value !== false && value !== 0 && value !== null;

function elemMatch(leaf: unknown, condition: unknown): boolean {
  if (!Array.isArray(leaf) || !isDoc(condition)) return false;
  const byValue = isOperators(condition) && !Object.keys(condition).some(isLogical);
  return leaf.some((item) =>
    byValue ? holds([item], condition) : (isDoc(item) || Array.isArray(item)) && matches(item, condition),
  );
}

const logic: Record<string, (doc: unknown, clauses: Doc[]) => boolean> = {
  $and: (doc, clauses) => clauses.every((clause) => matches(doc, clause)),
  $or: (doc, clauses) => clauses.some((clause) => matches(doc, clause)),
  $nor: (doc, clauses) => !clauses.some((clause) => matches(doc, clause)),
};

export const isLogical = (key: string): boolean => Object.hasOwn(logic, key);

export function matches(doc: unknown, filter: Doc): boolean {
  return Object.entries(filter).every(([key, condition]) => {
    if (!key.startsWith('$')) return holds([...leaves(doc, key.split('.'))], condition);
    if (key === '$comment') return true;
    const combine = isLogical(key) ? logic[key] : undefined;
    if (!combine) throw new CommandError(2, `unknown top level operator: ${key}`);
    return combine(doc, condition as Doc[]);
  });
}

/** The first element of an array field that satisfies the filter's conditions on that field: what `$` stands for. */
export function matchedIndex(doc: Doc, field: string, filter: Doc): number | undefined {
  const array = [...leaves(doc, field.split('.'))][0];
  if (!Array.isArray(array)) return undefined;
  for (const [key, condition] of conditionsOf(filter)) {
    const at = array.findIndex((item) => {
      if (key === field && isDoc(condition) && '$elemMatch' in condition)
        return elemMatch([item], condition.$elemMatch);
      if (key === field) return holds([item], condition);
      return key.startsWith(`${field}.`) && matches(item, { [key.slice(field.length + 1)]: condition });
    });
    if (at >= 0 && !isNegative(condition)) return at;
  }
  return undefined;
}

const isNegative = (condition: unknown) =>
  isOperators(condition) && Object.keys(condition).some((key) => Object.hasOwn(negations, key));

function conditionsOf(filter: Doc): [string, unknown][] {
  return Object.entries(filter).flatMap(([key, condition]) =>
    key === '$and' && Array.isArray(condition)
      ? condition.flatMap((clause) => conditionsOf(clause as Doc))
      : [[key, condition] as [string, unknown]],
  );
}
