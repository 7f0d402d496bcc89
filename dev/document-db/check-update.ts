/** Refuses an update that cannot be understood before any document is touched, also when none matches. */
import { BSONRegExp, Decimal128 } from 'bson';
import { checkCondition, checkFilter } from './check-filter.ts';
import { CommandError } from './errors.ts';
import { isOperators } from './match.ts';
import { compareBy } from './sort.ts';
import { type Doc, isDoc, isOfType } from './values.ts';

export interface UpdateShape {
  readonly update: Doc;
  readonly multi: boolean;
  readonly arrayFilters: readonly Doc[];
}

export function checkUpdate({ update, multi, arrayFilters }: UpdateShape): void {
  if (!isOperators(update)) {
    if (multi) throw new CommandError(9, 'multi update is not supported for replacement-style update');
    if (arrayFilters.length > 0) throw new CommandError(9, 'arrayFilters need an operator-style update');
    return;
  }
  const paths: string[] = [];
  for (const [modifier, fields] of Object.entries(update)) {
    const check = Object.hasOwn(modifiers, modifier) ? modifiers[modifier] : undefined;
    if (!check) throw new CommandError(9, `Unknown modifier: ${modifier}`);
    if (!isDoc(fields))
      throw new CommandError(
        9,
        `Modifiers operate on fields but we found type other than object: ${modifier}`,
      );
    for (const [path, operand] of Object.entries(fields)) {
      checkPath(path);
      check(operand, path);
      paths.push(path, ...(modifier === '$rename' ? [String(operand)] : []));
    }
  }
  refuseConflicts(paths);
  checkArrayFilters(arrayFilters, paths);
}

type Check = (operand: unknown, path: string) => void;
const anything: Check = () => undefined;
const refuse = (code: number, message: string): never => {
  throw new CommandError(code, message);
};

const modifiers: Readonly<Record<string, Check>> = {
  $set: anything,
  $setOnInsert: anything,
  $unset: anything,
  $min: anything,
  $max: anything,
  $inc: (operand, path) => {
    if (operand instanceof Decimal128) refuse(2, 'this server does no arithmetic on Decimal128');
    if (!isOfType(operand, 'number')) refuse(14, `Cannot increment with non-numeric argument at '${path}'`);
  },
  $currentDate: (operand, path) => {
    if (operand !== true && !(isDoc(operand) && operand.$type === 'date'))
      refuse(2, `$currentDate of '${path}' takes true or {$type: 'date'} here`);
  },
  $push: (operand) => {
    if (isDoc(operand) && '$each' in operand) checkPush(operand);
  },
  $addToSet: (operand) => {
    if (!isDoc(operand) || !('$each' in operand)) return;
    if (!Array.isArray(operand.$each)) refuse(14, 'The argument to $each in $addToSet must be an array');
    if (Object.keys(operand).length > 1) refuse(2, 'Found unexpected fields after $each in $addToSet');
  },
  $pull: (operand) => {
    if (isOperators(operand) || operand instanceof BSONRegExp) checkCondition(operand);
    else if (isDoc(operand)) checkFilter(operand);
  },
  $rename: (operand, path) => {
    if (typeof operand !== 'string' || path.includes('.') || operand.includes('.') || operand === '')
      refuse(2, '$rename works on top level fields here');
    if (operand === path) refuse(2, `The source and target field for $rename must differ: ${path}`);
  },
};

function checkPush({ $each, $position, $sort, $slice, ...others }: Doc): void {
  const unknown = Object.keys(others)[0];
  if (unknown !== undefined) refuse(2, `Unrecognized clause in $push: ${unknown}`);
  if (!Array.isArray($each)) refuse(2, 'The argument to $each in $push must be an array');
  for (const [clause, value] of Object.entries({ $position, $slice })) {
    if (value !== undefined && !Number.isInteger(value))
      refuse(2, `The value for ${clause} must be an integer value`);
  }
  if (isDoc($sort)) compareBy($sort);
  else if ($sort !== undefined && $sort !== 1 && $sort !== -1)
    refuse(2, 'The $sort element value must be either 1 or -1');
}

function checkPath(path: string): void {
  const fields = path.split('.');
  if (fields.includes('')) refuse(56, `The update path '${path}' contains an empty field name`);
  for (const [at, field] of fields.entries()) {
    if (!field.startsWith('$')) continue;
    const positional = at > 0 && /^\$(\[\w*\])?$/.test(field);
    if (!positional)
      refuse(52, `The dollar ($) prefixed field '${field}' in '${path}' is not valid for storage.`);
  }
}

function refuseConflicts(paths: readonly string[]): void {
  for (const [at, path] of paths.entries()) {
    const clash = paths.find(
      (other, index) => index !== at && (other === path || other.startsWith(`${path}.`)),
    );
    if (clash !== undefined) refuse(40, `Updating the path '${clash}' would create a conflict at '${path}'`);
  }
}

/** Each filter speaks of one element by its name, and each name is used in a path. */
function checkArrayFilters(filters: readonly Doc[], paths: readonly string[]): void {
  const names: string[] = [];
  for (const filter of filters) {
    checkFilter(filter);
    const [name, ...more] = new Set(Object.keys(filter).map((key) => key.split('.')[0] ?? ''));
    if (name === undefined || more.length > 0 || name.startsWith('$') || names.includes(name))
      throw new CommandError(
        9,
        'an array filter has the conditions of one identifier here, and is the only one',
      );
    names.push(name);
    if (!paths.some((path) => path.split('.').includes(`$[${name}]`)))
      refuse(9, `The array filter for identifier '${name}' was not used in the update`);
  }
  const used = paths.flatMap((path) => [...path.matchAll(/\$\[(\w+)\]/g)].map(([, name]) => name ?? ''));
  const missing = used.find((name) => !names.includes(name));
  if (missing !== undefined) refuse(2, `No array filter found for identifier '${missing}' in path`);
}
