import { z } from 'zod';
import { checkConfig } from '../checking/check-config.ts';
import { wholeNumber } from '../checking/numbers.ts';
import { InvalidConfigError, InvalidInputError } from '../errors.ts';
import type { MessageRange } from '../turn/listed.ts';

/** How many a page has at most. */
export const maxPageSize = 200;
export const pageSize = wholeNumber(1, maxPageSize).default(50);

export interface MessagePageOptions {
  /** Only messages in front of this sequence: `before` of a page, or `sequence` of a message. */
  readonly before?: number;
  /** Only messages behind this sequence. Not together with `before`. */
  readonly after?: number;
  /** From 1 to 200; default 50. A page of long texts has fewer. */
  readonly limit?: number;
}

const place = wholeNumber(0, Number.MAX_SAFE_INTEGER).optional();
const messagePage = z.strictObject({ before: place, after: place, limit: pageSize });

/** Throws InvalidInputError. */
export function checkMessagePage(options: MessagePageOptions): MessageRange {
  const { before, after, limit } = checkCall(messagePage, options);
  if (before !== undefined && after !== undefined)
    throw new InvalidInputError('after', 'cannot be given together with "before": a page goes one way');
  return { limit, ...(before === undefined ? {} : { before }), ...(after === undefined ? {} : { after }) };
}

/** What a call was given, by the schema. Throws InvalidInputError, with the nearest known name for one that is not known. */
export function checkCall<S extends z.ZodType>(schema: S, options: unknown): z.output<S> {
  if (typeof options !== 'object' || options === null)
    throw new InvalidInputError('options', 'must be an object, or left out');
  try {
    return checkConfig(schema, options, '');
  } catch (error) {
    if (!(error instanceof InvalidConfigError)) throw error;
    const { setting, message } = error;
    throw new InvalidInputError(setting || 'options', message.slice(setting.length + 2), { cause: error });
  }
}
