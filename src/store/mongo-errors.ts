import mongoose from 'mongoose';
import { ConflictError, InvalidInputError, messageOf, ServiceUnavailableError } from '../errors.ts';

const { mongo } = mongoose;

/** Fields of the unique index that refused a write, or undefined for every other error. */
export function duplicateKeys(error: unknown): readonly string[] | undefined {
  if (!(error instanceof mongo.MongoServerError) || error.code !== 11000) return undefined;
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

/** Error names for which the driver exports no class. */
const awayNames = new Set(['MongoPoolClosedError', 'MongoWaitQueueTimeoutError']);

/** Codes of a server that is going down or has lost its primary: MongoDB's "retryable" and "not primary" errors. */
const awayCodes = new Set<unknown>([91, 189, 10107, 11600, 11602, 13435, 13436]);

/** Of a socket: driver 7.8 lets a write that fails on a connection just reset through as it is. */
const socketCodes = new Set<unknown>([
  'ECONNRESET',
  'ECONNREFUSED',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
]);

function isAway(error: unknown): boolean {
  if (socketCodes.has((error as { code?: unknown } | undefined)?.code)) return true;
  if (error instanceof mongoose.Error.MongooseServerSelectionError) return true;
  if (error instanceof mongoose.MongooseError)
    return /before initial connection is complete|disconnected/.test(error.message);
  if (!(error instanceof mongo.MongoError)) return false;
  return (
    error instanceof mongo.MongoNetworkError ||
    error instanceof mongo.MongoServerSelectionError ||
    error instanceof mongo.MongoNotConnectedError ||
    error instanceof mongo.MongoClientClosedError ||
    error instanceof mongo.MongoServerClosedError ||
    error instanceof mongo.MongoTopologyClosedError ||
    error instanceof mongo.MongoExpiredSessionError ||
    awayNames.has(error.name) ||
    awayCodes.has(error.code) ||
    error.hasErrorLabel('RetryableWriteError')
  );
}

/** What a schema of the host or ours refused, as the field that it refused. */
function refusedField(error: unknown): string | undefined {
  if (error instanceof mongoose.Error.ValidationError) return Object.keys(error.errors)[0] ?? 'document';
  if (error instanceof mongoose.Error.CastError) return error.path;
  return undefined;
}

/** Driver's and Mongoose's errors as ours: away, conflict, refused by a schema, or as they are. */
export function mongoError(error: unknown): unknown {
  const keys = duplicateKeys(error);
  if (keys)
    return new ConflictError(`a document with the same ${keys.join(', ')} exists`, keys, { cause: error });
  const field = refusedField(error);
  if (field !== undefined) return new InvalidInputError(field, messageOf(error), { cause: error });
  if (isAway(error)) return new ServiceUnavailableError('mongodb', messageOf(error), { cause: error });
  return error;
}

/** Runs a database call; its errors leave as ours. */
export async function mongoCall<T>(fn: () => Promise<T>): Promise<T> {
  try {
    return await fn();
  } catch (error) {
    throw mongoError(error);
  }
}
