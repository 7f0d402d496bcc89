import mongoose, { type Connection } from 'mongoose';
import { InvalidConfigError, ServiceUnavailableError } from '../errors.ts';
import type { ErrorReporter } from '../instrumentation/error-reporter.ts';
import { within } from '../timing/time-limit.ts';
import { unlessAborted } from '../timing/unless-aborted.ts';
import { plainCause, plainMessage } from './plain-cause.ts';

export interface MongoOptions {
  /** How long to look for a server, at connect and for each operation. Default 5 s. */
  readonly timeoutMs?: number;
}

/** A server that took a command and says nothing for this long counts as away: it is frozen, or the way to it is cut. */
const silentMs = 30_000;
/** Over the driver's own times at connecting, each of which is for one of its steps: its error says more than ours. */
const overMs = 250;
/** How long an operation waits for one of the pool's connections. */
const poolWaitMs = 10_000;

/**
 * Opens a connection of its own, never Mongoose's global one. Queries with unknown paths throw, operators in
 * place of values are refused, nothing is buffered while the database is away, and no index is built behind
 * anybody's back. No operation on it takes longer than about 45 s. Throws InvalidConfigError for a URL that is
 * none, ServiceUnavailableError otherwise; nothing stays open then.
 */
export async function connectMongo(
  url: string,
  { timeoutMs = 5_000 }: MongoOptions = {},
): Promise<Connection> {
  if (typeof url !== 'string' || !/^mongodb(\+srv)?:\/\/./.test(url)) {
    throw new InvalidConfigError('mongo', 'must be a URL of the form mongodb://host:port/database');
  }
  if (!/^[^/]+\/\/[^/?]+\/[^/?]/.test(url)) {
    const problem = `names no database, and MongoDB would write into "test"; say which: ${hostOf(url)}/<database>`;
    throw new InvalidConfigError('mongo', problem);
  }
  // Mongoose looks for `strictQuery` on its instance, not on the connection: ours is not the host's.
  const own = new mongoose.Mongoose({ strictQuery: 'throw', sanitizeFilter: true });
  const connection = own.createConnection();
  // What goes wrong is told by the operation that it goes wrong for; without a listener it would end the process.
  connection.on('error', () => undefined);
  try {
    const opened = connection.openUri(url, {
      autoIndex: false,
      autoCreate: false,
      bufferCommands: false,
      ignoreUndefined: true,
      serverSelectionTimeoutMS: timeoutMs,
      connectTimeoutMS: timeoutMs,
      socketTimeoutMS: silentMs,
      waitQueueTimeoutMS: poolWaitMs,
    });
    await within(timeoutMs + overMs, (limit) => unlessAborted(opened, limit));
    return connection;
  } catch (error) {
    await connection.destroy().catch(() => undefined);
    const cause = plainCause(error);
    if (isUrlProblem(error)) throw new InvalidConfigError('mongo', plainMessage(error), { cause });
    throw new ServiceUnavailableError('mongodb', `cannot use ${hostOf(url)}: ${plainMessage(error)}`, {
      cause,
      effect: 'none',
    });
  }
}

/** How long MongoDB may take to hear of the end of our sessions: the driver would wait for `silentMs`. */
const goodbyeMs = 1_000;

/** The driver's own way (7.8) to let go of connections that owe an answer, which its `close` asks one more question. */
interface Topology {
  closeCheckedOutConnections?(): void;
  close?(): void;
}

/** Closes in bounded time: a MongoDB that does not answer is told, and its connections cut. Throws what the driver throws. */
export async function closeMongo(connection: Connection, reporter: ErrorReporter): Promise<void> {
  const { topology } = connection.getClient() as unknown as { topology?: Topology };
  const closed = connection.close();
  await within(goodbyeMs, async (limit) => {
    try {
      await unlessAborted(closed, limit);
    } catch (cause) {
      if (!limit.aborted) throw cause;
      topology?.closeCheckedOutConnections?.();
      topology?.close?.();
      const problem = 'did not answer the goodbye; its connections were cut';
      const error = new ServiceUnavailableError('mongodb', problem, { cause });
      reporter.report(error, { action: 'mongodb.close', severity: 'warning' });
    }
  });
  await closed;
}

/**
 * Another connection over the same client, with Mongoose's own defaults for queries: a host's filters are the host's.
 * Here, too, nothing is buffered and no index is built behind anybody's back. It opens and closes with the first one.
 */
export function plainConnection(connection: Connection): Connection {
  const plain = new mongoose.Mongoose({ autoIndex: false, autoCreate: false, bufferCommands: false });
  const second = plain.createConnection();
  second.on('error', () => undefined);
  return second.setClient(connection.getClient());
}

/** Refused by the driver before it called anybody, or a password that no waiting makes right. */
function isUrlProblem(error: unknown): boolean {
  const { MongoServerError, MongoMissingCredentialsError } = mongoose.mongo;
  if (error instanceof MongoServerError) return error.code === 18;
  // By name: the parser of the URL has a class of its own for this, which the driver does not export.
  if (error instanceof Error && error.name === 'MongoParseError') return true;
  return error instanceof MongoMissingCredentialsError;
}

/** Without credentials: this goes into logs. */
function hostOf(url: string): string {
  return url.replace(/^(mongodb(?:\+srv)?:\/\/)(?:[^@/]*@)?([^/?]*).*$/, '$1$2');
}
