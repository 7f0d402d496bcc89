import {
  ConflictError,
  DatabaseRefusedError,
  DocumentTooLargeError,
  InvalidInputError,
  messageOf,
  ServiceUnavailableError,
  TurnsError,
} from '../errors.ts';
import { plainCause, plainMessage } from './plain-cause.ts';
import { isTooLarge } from './too-large.ts';
import { isDuplicate, verdictOn } from './verdicts.ts';

/** Fields of the unique index that refused a write, as far as the server says; some engines say nothing. */
function duplicateKeys(error: unknown): readonly string[] {
  // A bulk write tells the index only in its first write error.
  const { keyPattern, writeErrors } = error as { keyPattern?: object; writeErrors?: unknown };
  const first = [writeErrors].flat()[0] as { err?: { keyPattern?: object } } | undefined;
  return Object.keys(keyPattern ?? first?.err?.keyPattern ?? keyPatternOf(messageOf(error)));
}

/** MongoDB's message ends in `dup key: { a: 1, b: "x" }`. */
function keyPatternOf(message: string): Record<string, 1> {
  const fields = /dup key: \{(.*)\}/.exec(message)?.[1] ?? '';
  return Object.fromEntries([...fields.matchAll(/(?:^|,)\s*([\w.]+):/g)].map(([, field]) => [field, 1]));
}

/** What a schema of the host or ours refused, as the field that it refused. */
function refusedField(error: unknown): string | undefined {
  const { name, errors, path } = error as { name?: unknown; errors?: object; path?: unknown };
  if (name === 'ValidationError' && errors) return Object.keys(errors)[0] ?? 'document';
  if (name === 'CastError' || name === 'StrictModeError') return String(path);
  return undefined;
}

/**
 * Driver's and Mongoose's errors as ours, which hold no document and no value of one; what comes from neither goes on as
 * it is.
 */
export function mongoError(error: unknown): unknown {
  if (error instanceof TurnsError) return error;
  if (isTooLarge(error))
    return new DocumentTooLargeError(`mongodb: ${plainMessage(error)}`, { cause: plainCause(error) });
  if (!(error instanceof Error)) return error;
  if (isDuplicate(error)) {
    const keys = duplicateKeys(error);
    const same = keys.length > 0 ? `same ${keys.join(', ')}` : 'same unique value';
    return new ConflictError(`a document with the ${same} exists`, keys, { cause: plainCause(error) });
  }
  const field = refusedField(error);
  if (field !== undefined)
    return new InvalidInputError(field, plainMessage(error), { cause: plainCause(error) });
  const verdict = verdictOn(error);
  if (!verdict) return error;
  const { code } = error as { code?: unknown };
  const problem = `${plainMessage(error)}${code === undefined ? '' : ` (code ${code})`}`;
  if (verdict.permanent)
    return new DatabaseRefusedError('mongodb', problem, typeof code === 'number' ? code : undefined, {
      cause: plainCause(error),
    });
  const effect = verdict.effect === 'none' ? 'none' : 'unknown';
  return new ServiceUnavailableError('mongodb', problem, { cause: plainCause(error), effect });
}

/** Runs a database call; its errors leave as ours. */
export async function mongoCall<T>(fn: () => Promise<T>): Promise<T> {
  try {
    return await fn();
  } catch (error) {
    throw mongoError(error);
  }
}
