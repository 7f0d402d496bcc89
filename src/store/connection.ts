import mongoose, { type Connection } from 'mongoose';
import { InvalidConfigError, messageOf, ServiceUnavailableError } from '../errors.ts';

export interface MongoOptions {
  /** How long to look for a server, at connect and for each operation. Default 5 s. */
  readonly timeoutMs?: number;
}

/**
 * Opens a connection of its own, never Mongoose's global one. Queries with unknown paths throw, operators in
 * place of values are refused, nothing is buffered while the database is away, and no index is built behind
 * anybody's back. Throws InvalidConfigError for a URL that is none, ServiceUnavailableError otherwise.
 */
export async function connectMongo(
  url: string,
  { timeoutMs = 5_000 }: MongoOptions = {},
): Promise<Connection> {
  if (!/^mongodb(\+srv)?:\/\/./.test(url)) {
    throw new InvalidConfigError('mongo', 'must be a URL of the form mongodb://host:port/database');
  }
  const connection = mongoose.createConnection();
  connection.set('strictQuery', 'throw');
  connection.set('sanitizeFilter', true);
  connection.on('error', () => undefined);
  try {
    await connection.openUri(url, {
      autoIndex: false,
      autoCreate: false,
      bufferCommands: false,
      serverSelectionTimeoutMS: timeoutMs,
      connectTimeoutMS: timeoutMs,
    });
    return connection;
  } catch (cause) {
    await connection.destroy().catch(() => undefined);
    if (cause instanceof mongoose.mongo.MongoParseError) {
      throw new InvalidConfigError('mongo', messageOf(cause), { cause });
    }
    throw new ServiceUnavailableError('mongodb', `cannot use ${hostOf(url)}: ${messageOf(cause)}`, { cause });
  }
}

function hostOf(url: string): string {
  return url.replace(/^(mongodb(?:\+srv)?:\/\/)(?:[^@/]*@)?([^/?]*).*$/, '$1$2');
}
