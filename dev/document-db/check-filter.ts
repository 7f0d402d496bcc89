/** Refuses a filter that cannot be understood before it is held against any document, or against none. */
import { BSONRegExp } from 'bson';
import { CommandError } from './errors.ts';
import { isKnownOperator, isLogical, isOperators } from './match.ts';
import { toRegex } from './regex.ts';
import { checkType, type Doc, isDoc } from './values.ts';

export function checkFilter(filter: Doc): void {
  for (const [key, condition] of Object.entries(filter)) {
    if (isLogical(key)) checkClauses(key, condition);
    else if (key.startsWith('$') && key !== '$comment')
      throw new CommandError(2, `unknown top level operator: ${key}`);
    else checkCondition(condition);
  }
}

/** What may stand behind the name of a field: operators, or a value. */
export function checkCondition(condition: unknown): void {
  if (condition instanceof BSONRegExp) toRegex(condition, undefined);
  if (!isOperators(condition)) return;
  for (const [operator, operand] of Object.entries(condition)) {
    if (!isKnownOperator(operator)) throw new CommandError(2, `unknown operator: ${operator}`);
    operands[operator]?.(operand, condition);
  }
}

function checkClauses(operator: string, clauses: unknown): void {
  if (!Array.isArray(clauses) || clauses.length === 0 || !clauses.every(isDoc))
    throw new CommandError(2, `${operator} must be a nonempty array of objects`);
  for (const clause of clauses) checkFilter(clause);
}

type Check = (operand: unknown, siblings: Doc) => void;

const noRegex =
  (operator: string): Check =>
  (operand) => {
    if (operand instanceof BSONRegExp) throw new CommandError(2, `Can't have regex as arg to ${operator}.`);
  };

const listed =
  (operator: string): Check =>
  (operand) => {
    if (!Array.isArray(operand)) throw new CommandError(2, `${operator} needs an array`);
    if (operand.some(isOperators)) throw new CommandError(2, `cannot nest $ under ${operator}`);
    for (const item of operand) checkCondition(item);
  };

const operands: Readonly<Record<string, Check>> = {
  $ne: noRegex('$ne'),
  $gt: noRegex('$gt'),
  $gte: noRegex('$gte'),
  $lt: noRegex('$lt'),
  $lte: noRegex('$lte'),
  $in: listed('$in'),
  $nin: listed('$nin'),
  $all: (operand) => {
    if (!Array.isArray(operand)) throw new CommandError(2, '$all needs an array');
    for (const item of operand) {
      const condition = isOperators(item) ? item : undefined;
      if (condition && Object.keys(condition).join() !== '$elemMatch')
        throw new CommandError(2, 'no $ expressions in $all');
      checkCondition(item);
    }
  },
  $elemMatch: (operand) => {
    if (!isDoc(operand)) throw new CommandError(2, '$elemMatch needs an Object');
    if (isOperators(operand) && !Object.keys(operand).some(isLogical)) checkCondition(operand);
    else checkFilter(operand);
  },
  $not: (operand) => {
    const meaningful = operand instanceof BSONRegExp || isOperators(operand);
    if (!meaningful) throw new CommandError(2, '$not needs a regex or a document');
    checkCondition(operand);
  },
  $size: (operand) => {
    if (!Number.isInteger(operand) || Number(operand) < 0)
      throw new CommandError(2, '$size must be a whole number');
  },
  $type: (operand) => {
    for (const type of Array.isArray(operand) ? operand : [operand]) checkType(type);
  },
  $regex: (operand, { $options }) => void toRegex(operand, $options),
  $options: (_options, siblings) => {
    if (!('$regex' in siblings)) throw new CommandError(2, '$options needs a $regex');
  },
};
