/** What Redis and MongoDB do, or refuse. */
import { TurnsError } from './turns-error.ts';

export type ServiceName = 'redis' | 'mongodb' | 'opencode';

/**
 * Redis or MongoDB could not be reached, did not answer within the bound of the call, or answered an error that
 * passes. `effect` says what has become of the call: `none`, it has surely changed nothing; `unknown`, nobody can
 * say, so that what it was to store may be stored.
 */
export class ServiceUnavailableError extends TurnsError {
  readonly code = 'service_unavailable';
  readonly disposition = 'retry';
  readonly service: ServiceName;
  readonly effect: 'none' | 'unknown';
  constructor(
    service: ServiceName,
    problem: string,
    { effect = 'unknown', ...options }: { cause?: unknown; effect?: 'none' | 'unknown' } = {},
  ) {
    super(`${service}: ${problem}`, options);
    this.service = service;
    this.effect = effect;
  }
}

/**
 * MongoDB or Redis understood a command and refuses it, and will refuse it again: a document too large, a rule of the
 * host's own, a key that somebody else has put something into, a command that this server does not have. `serverCode` is
 * MongoDB's number of the reason, where it gave one.
 */
export class DatabaseRefusedError extends TurnsError {
  readonly code = 'database_refused';
  readonly disposition = 'fail';
  readonly service: 'mongodb' | 'redis';
  readonly serverCode: number | undefined;
  constructor(
    service: DatabaseRefusedError['service'],
    problem: string,
    serverCode: number | undefined,
    options?: { cause?: unknown },
  ) {
    super(`${service}: ${problem}`, options);
    this.service = service;
    this.serverCode = serverCode;
  }
}

/**
 * An index that correctness rests on cannot be built as it is: `problem` says what stands in its way and what to do.
 * `documents` are ids of some that it cannot hold, where that is the reason.
 */
export class IndexConflictError extends TurnsError {
  readonly code = 'index_conflict';
  readonly disposition = 'fail';
  readonly collection: string;
  readonly index: string;
  readonly documents: readonly string[];
  constructor(
    collection: string,
    index: string,
    problem: string,
    documents: readonly string[],
    options?: { cause?: unknown },
  ) {
    super(`collection "${collection}": ${problem}`, options);
    this.collection = collection;
    this.index = index;
    this.documents = documents;
  }
}

/** A write lost against a unique index or a compare-and-set that nobody retries. `keys` are the index fields. */
export class ConflictError extends TurnsError {
  readonly code = 'conflict';
  readonly disposition = 'retry';
  readonly keys: readonly string[];
  constructor(problem: string, keys: readonly string[], options?: { cause?: unknown }) {
    super(problem, options);
    this.keys = keys;
  }
}

/** The database takes no document of this size, and never will; nothing was written. */
export class DocumentTooLargeError extends TurnsError {
  readonly code = 'turn_too_large';
  readonly disposition = 'fail';
}
