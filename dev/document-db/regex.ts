import { BSONRegExp } from 'bson';
import { CommandError } from './errors.ts';

/**
 * A pattern for JavaScript's engine. In its Unicode mode, which refuses what it does not know instead of taking
 * `\A` for an A; PCRE's own syntax is refused with it.
 */
export function toRegex(operand: unknown, options: unknown): RegExp {
  const given = operand instanceof BSONRegExp ? operand : undefined;
  const pattern = given ? given.pattern : operand;
  if (typeof pattern !== 'string') throw new CommandError(2, '$regex has to be a string');
  if (options !== undefined && typeof options !== 'string')
    throw new CommandError(2, '$options has to be a string');
  if (options !== undefined && given && given.options !== '')
    throw new CommandError(51074, 'options set in both $regex and $options');
  const flags = options ?? given?.options ?? '';
  if (!/^[imsu]*$/.test(flags)) throw new CommandError(51108, `invalid flag in regex options: ${flags}`);
  try {
    return new RegExp(pattern, [...new Set(`${flags}u`)].join(''));
  } catch (error) {
    throw new CommandError(51091, `Regular expression is invalid: ${String(error)}`);
  }
}
