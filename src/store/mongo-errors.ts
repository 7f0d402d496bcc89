import mongoose from 'mongoose';
import { ConflictError, messageOf, ServiceUnavailableError } from '../errors.ts';

const { mongo } = mongoose;

interface DuplicateKey {
  readonly code: 11000;
  readonly keyPattern?: Readonly<Record<string, unknown>>;
  readonly writeErrors?: unknown;
}

/** Fields of the unique index that refused a write, or undefined for every other error. */
export function duplicateKeys(error: unknown): readonly string[] | undefined {
  if (!(error instanceof mongo.MongoServerError) || error.code !== 11000) return undefined;
  const { keyPattern } = error as unknown as DuplicateKey;
  if (keyPattern) return Object.keys(keyPattern);
  // A bulk write tells the index only in its first write error.
  const first = Array.isArray(error.writeErrors) ? error.writeErrors[0] : undefined;
  const pattern = first?.err?.keyPattern ?? first?.keyPattern ?? keyPatternOf(messageOf(error));
  return Object.keys(pattern ?? {});
}

/** MongoDB's message ends in `dup key: { a: 1, b: "x" }`. */
function keyPatternOf(message: string): Record<string, 1> {
  const fields = /dup key: \{(.*)\}/.exec(message)?.[1] ?? '';
  return Object.fromEntries([...fields.matchAll(/(?:^|,)\s*([\w.]+):/g)].map(([, field]) => [field, 1]));
}

/** Driver errors as ours: away, conflict, or as they are. */
export function mongoError(error: unknown): unknown {
  const keys = duplicateKeys(error);
  if (keys)
    return new ConflictError(`a document with the same ${keys.join(', ')} exists`, keys, { cause: error });
  const away =
    error instanceof mongo.MongoNetworkError ||
    error instanceof mongo.MongoServerSelectionError ||
    error instanceof mongo.MongoNotConnectedError ||
    error instanceof mongo.MongoTopologyClosedError ||
    error instanceof mongo.MongoExpiredSessionError ||
    error instanceof mongoose.Error.MongooseServerSelectionError ||
    (error instanceof mongo.MongoError && error.hasErrorLabel('RetryableWriteError')) ||
    (error instanceof mongoose.MongooseError &&
      /before initial connection is complete|disconnected/.test(error.message));
  return away ? new ServiceUnavailableError('mongodb', messageOf(error), { cause: error }) : error;
}

/** Runs a database call; its errors leave as ours. */
export async function mongoCall<T>(fn: () => Promise<T>): Promise<T> {
  try {
    return await fn();
  } catch (error) {
    throw mongoError(error);
  }
}
