import { z } from 'zod';
import { wholeNumber } from '../checking/numbers.ts';
import { requireWellFormed } from '../checking/well-formed.ts';
import { InvalidInputError } from '../errors.ts';
import type { Place } from '../turn/queue-order.ts';
import { checkTurnId } from './check-input.ts';
import { checkText } from './enqueue-input.ts';
import { checkCall } from './page-options.ts';

export interface EditOptions {
  /** What the turn asks from now on; bounds and meaning as of `enqueue`. */
  readonly text: string;
  /** The revision that the author has seen; without it the edit goes over whatever is there. */
  readonly revision?: number;
}

export interface HoldOptions {
  /** Who holds it, for others to read: at most 200 characters. */
  readonly by?: string;
}

const edit = z.strictObject({
  text: z.unknown(),
  revision: wholeNumber(0, Number.MAX_SAFE_INTEGER).optional(),
});
const hold = z.strictObject({ by: z.string().min(1).max(200).optional() });
const place = z.union([z.strictObject({ before: z.unknown() }), z.strictObject({ after: z.unknown() })]);

/** Throws InvalidInputError. */
export function checkEdit(options: EditOptions): { text: string; revision: number | undefined } {
  const { text, revision } = checkCall(edit, options);
  return { text: checkText(text), revision };
}

/** Throws InvalidInputError. */
export function checkHold(options: HoldOptions): string | undefined {
  const { by } = checkCall(hold, options);
  if (by !== undefined) requireWellFormed('by', by);
  return by;
}

/** Throws InvalidInputError. */
export function checkPlace(turnId: string, given: Place): Place {
  if (given === 'first' || given === 'last') return given;
  const parsed = place.safeParse(given);
  if (!parsed.success)
    throw new InvalidInputError('place', 'must be "first", "last", { before: turnId } or { after: turnId }');
  const [way, neighbour] = Object.entries(parsed.data)[0] as ['before' | 'after', string];
  if (checkTurnId(neighbour) === turnId)
    throw new InvalidInputError(`place.${way}`, 'must be another turn than the one that is moved');
  return { [way]: neighbour } as Place;
}
