import { z } from 'zod';
import { InvalidInputError } from '../errors.ts';
import type { TurnLists } from '../ports/turn-lists.ts';
import type { FailureReason } from '../turn/failure-sentences.ts';
import { type ListedTurn, possibleStatuses, type TurnPage, type TurnQuery } from '../turn/listed.ts';
import type { TurnStatus } from '../turn/stored-turn.ts';
import { checkCall, pageSize } from './page-options.ts';

export interface ListOptions {
  readonly status?: TurnStatus;
  readonly policy?: string;
  /** Of the failure; those of earlier versions and of server codes are text, too. */
  readonly reason?: FailureReason | (string & {});
  /** Only turns that wait for an answer which nobody has given. */
  readonly waitingForPeople?: true;
  /** Created at this time or later; Unix ms, or a Date. */
  readonly since?: number | Date;
  /** Created before this time. */
  readonly until?: number | Date;
  /** From 1 to 200; default 50. */
  readonly limit?: number;
  /** `cursor` of the page before, under the same conditions. */
  readonly cursor?: string;
}

const name = z
  .string('must be a string')
  .min(1, 'must not be empty')
  .max(200, 'must have at most 200 characters');
/** The times that a Date can be. */
const maxTime = 8_640_000_000_000_000;
const isTime = (value: unknown) =>
  (typeof value === 'number' || value instanceof Date) && Math.abs(Number(value)) <= maxTime;
const time = z
  .custom<number | Date>(isTime, 'must be a time: a Date, or Unix ms')
  .transform((value) => Math.trunc(Number(value)))
  .optional();
const cursorForm = /^(\d{1,16})-([0-9a-f]{24})$/;

const listOptions = z.strictObject({
  status: z.enum(['pending', 'completed', 'error', 'cancelled']).optional(),
  policy: name.optional(),
  reason: name.optional(),
  waitingForPeople: z.custom<true>((value) => value === true, 'must be true, or left out').optional(),
  since: time,
  until: time,
  limit: pageSize,
  cursor: z.string().regex(cursorForm, 'must be the cursor of a page').optional(),
});

/** One page of the turns of all conversations. Throws InvalidInputError, ServiceUnavailableError. */
export async function listTurns(lists: TurnLists, options: ListOptions): Promise<TurnPage> {
  const { turns, isMore } = await lists.turns(checkListOptions(options));
  const last = turns.at(-1);
  return { turns, ...(isMore && last ? { cursor: cursorOf(last) } : {}) };
}

export function checkListOptions(options: ListOptions): TurnQuery {
  const { cursor, ...given } = checkCall(listOptions, options);
  const query = Object.fromEntries(
    Object.entries(given).filter(([, value]) => value !== undefined),
  ) as unknown as TurnQuery;
  if (possibleStatuses(query).length === 0) throw contradiction(query);
  const [, createdAt, id] = (cursor !== undefined && cursorForm.exec(cursor)) || [];
  return id === undefined ? query : { ...query, behind: { id, createdAt: Number(createdAt) } };
}

/** What would always be an empty page is a mistake. */
function contradiction({ status, reason, waitingForPeople }: TurnQuery): InvalidInputError {
  if (reason === undefined)
    return new InvalidInputError('waitingForPeople', `says that the status is "pending", not "${status}"`);
  const other = waitingForPeople ? 'waits for people' : `has the status "${status}"`;
  return new InvalidInputError(
    'reason',
    `is that of a turn which has failed, and never of one that ${other}`,
  );
}

const cursorOf = ({ createdAt, id }: ListedTurn): string => `${createdAt}-${id}`;
