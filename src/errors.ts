/**
 * The error catalogue. Every error that leaves this library is one of these classes: a stable `code`, the
 * facts as readonly fields, the original as `cause`, and a disposition that says what a job does with it.
 */
import { isTurnsError, TurnsError } from './errors/turns-error.ts';

export { CorruptFileError, FileTooLargeError, TransformError, UnsafeFileError } from './errors/files.ts';

export {
  AnsweredElsewhereError,
  CorruptTurnError,
  PolicyHookError,
  PolicyNotAppliedError,
  ServerConfigFilesError,
  TurnFailedError,
} from './errors/turns.ts';
export { type Disposition, isTurnsError, TurnsError } from './errors/turns-error.ts';
export * from './errors/upstream.ts';

// ---------------------------------------------------------------- what the caller gave

/** An argument was refused before anything was written. `field` names it, `problem` says why and what is accepted. */
export class InvalidInputError extends TurnsError {
  readonly code = 'invalid_input';
  readonly disposition = 'fail';
  readonly field: string;
  readonly problem: string;
  constructor(field: string, problem: string, options?: { cause?: unknown }) {
    super(`${field}: ${problem}`, options);
    this.field = field;
    this.problem = problem;
  }
}

/** A setting is missing or wrong. `setting` is the option or environment variable to change. */
export class InvalidConfigError extends TurnsError {
  readonly code = 'invalid_config';
  readonly disposition = 'fail';
  readonly setting: string;
  constructor(setting: string, problem: string, options?: { cause?: unknown }) {
    super(`${setting}: ${problem}`, options);
    this.setting = setting;
  }
}

/** The document that a call named does not exist. */
export class NotFoundError extends TurnsError {
  readonly code = 'not_found';
  readonly disposition = 'fail';
  readonly kind: 'conversation' | 'turn' | 'request' | 'file' | 'user message';
  readonly id: string;
  constructor(kind: NotFoundError['kind'], id: string) {
    super(`no ${kind} with id ${id}`);
    this.kind = kind;
    this.id = id;
  }
}

/** A job names a policy that this worker has not registered. Register it, or start a worker that has it. */
export class UnknownPolicyError extends TurnsError {
  readonly code = 'unknown_policy';
  readonly disposition = 'fail';
  readonly policy: string;
  readonly known: readonly string[];
  constructor(policy: string, known: readonly string[]) {
    super(`policy "${policy}" is not registered in this worker (known: ${known.join(', ') || 'none'})`);
    this.policy = policy;
    this.known = known;
  }
}

/** The conversation already has a turn waiting or running, and the caller asked to be refused (`onBusy: 'reject'`). */
export class TurnBusyError extends TurnsError {
  readonly code = 'turn_busy';
  readonly disposition = 'fail';
  readonly conversationId: string;
  readonly busyTurnId: string;
  constructor(conversationId: string, busyTurnId: string) {
    super(
      `conversation ${conversationId} is busy with turn ${busyTurnId}; wait for it, cancel it, or enqueue behind it`,
    );
    this.conversationId = conversationId;
    this.busyTurnId = busyTurnId;
  }
}

/** A method was called in a state that has no meaning for it, for example `enqueue` after `close`. */
export class IllegalStateError extends TurnsError {
  readonly code = 'illegal_state';
  readonly disposition = 'fail';
  readonly state: string;
  constructor(what: string, state: string) {
    super(`${what} is not possible while ${state}`);
    this.state = state;
  }
}

// ---------------------------------------------------------------- services

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

// ---------------------------------------------------------------- the OpenCode server

/** A prompt was accepted, but no event came within `firstEventTimeoutMs` and the message list shows no progress. */
export class StaleSessionError extends TurnsError {
  readonly code = 'session_stale';
  readonly disposition = 'retry';
  readonly sessionId: string;
  readonly afterMs: number;
  constructor(sessionId: string, afterMs: number) {
    super(`session ${sessionId} accepted a prompt and did nothing for ${afterMs} ms`);
    this.sessionId = sessionId;
    this.afterMs = afterMs;
  }
}

/** Events had come, then none for `idleTimeoutMs` (heartbeats do not count). */
export class IdleStreamError extends TurnsError {
  readonly code = 'stream_idle';
  readonly disposition = 'fail';
  readonly sessionId: string;
  readonly afterMs: number;
  constructor(sessionId: string, afterMs: number) {
    super(`session ${sessionId} made no progress for ${afterMs} ms`);
    this.sessionId = sessionId;
    this.afterMs = afterMs;
  }
}

/**
 * Somebody else has prompted a session while a turn of ours ran in it. What answers that message is not the turn's;
 * when upstream went on with it alone, the turn ends with the reason `foreign_prompt`.
 */
export class ForeignPromptError extends TurnsError {
  readonly code = 'foreign_prompt';
  readonly disposition = 'fail';
  readonly sessionId: string;
  readonly messageId: string;
  constructor(sessionId: string, messageId: string) {
    super(`session ${sessionId} was prompted by somebody else (message ${messageId}) while a turn ran in it`);
    this.sessionId = sessionId;
    this.messageId = messageId;
  }
}

/** The server makes something else of a directory's name than it says, or a link leads elsewhere than it did. */
export class UnusableDirectoryError extends TurnsError {
  readonly code = 'unusable_directory';
  readonly disposition = 'fail';
  readonly directory: string;
  readonly made: string;
  constructor(directory: string, made: string) {
    super(`the server works in ${JSON.stringify(made)}, not in ${JSON.stringify(directory)}`);
    this.directory = directory;
    this.made = made;
  }
}

// ---------------------------------------------------------------- locks and fences

/** Somebody else holds the lock; try again later. */
export class LockHeldError extends TurnsError {
  readonly code = 'lock_held';
  readonly disposition = 'retry';
  readonly key: string;
  constructor(key: string, options?: { cause?: unknown }) {
    super(`lock ${key} is held by another process`, options);
    this.key = key;
  }
}

/** Redis did not answer, so nobody can say whether the lock is free. */
export class LockUnavailableError extends TurnsError {
  readonly code = 'lock_unavailable';
  readonly disposition = 'retry';
  readonly key: string;
  constructor(key: string, options?: { cause?: unknown }) {
    super(`lock ${key} cannot be taken: Redis does not answer`, options);
    this.key = key;
  }
}

/** The lock expired or was taken away while the work under it was still going on. */
export class LockLostError extends TurnsError {
  readonly code = 'lock_lost';
  readonly disposition = 'retry';
  readonly key: string;
  constructor(key: string, options?: { cause?: unknown }) {
    super(`lock ${key} was lost while it was needed`, options);
    this.key = key;
  }
}

/** A write of a run matched nothing: the turn is terminal, or another worker claimed it with a newer epoch. */
export class OwnershipLostError extends TurnsError {
  readonly code = 'ownership_lost';
  readonly disposition = 'cancelled';
  readonly turnId: string;
  readonly epoch: number;
  constructor(turnId: string, epoch: number) {
    super(`turn ${turnId} no longer belongs to epoch ${epoch}`);
    this.turnId = turnId;
    this.epoch = epoch;
  }
}

/** Why a turn's signal was aborted. `shutdown` and `ownership-lost` leave the run upstream alone, the others abort it. */
export type AbortReason =
  | 'user'
  | 'shutdown'
  | 'ownership-lost'
  | 'deadline'
  | 'budget'
  | 'no-progress'
  | 'answered-elsewhere';

/** The reason of a turn's AbortSignal. `detail` names the limit that was crossed, for `deadline` and `budget`. */
export class TurnAbortError extends TurnsError {
  readonly code = 'turn_aborted';
  readonly disposition = 'cancelled';
  readonly reason: AbortReason;
  readonly detail: string | undefined;
  constructor(reason: AbortReason, detail?: string, options?: { cause?: unknown }) {
    super(detail === undefined ? `turn aborted: ${reason}` : `turn aborted: ${reason} (${detail})`, options);
    this.reason = reason;
    this.detail = detail;
  }
}

/** True for errors after which the same call may succeed later. */
export function isRetryable(error: unknown): boolean {
  return isTurnsError(error) && error.disposition === 'retry';
}

/** The message of anything thrown, for people; never an empty string. Never throws, whatever a host has thrown. */
export function messageOf(error: unknown): string {
  try {
    return error instanceof Error ? String(error.message || error.name) : String(error);
  } catch {
    return 'something that has no text';
  }
}
