/** What a caller gave, or when. */
import { TurnsError } from './turns-error.ts';

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

/** The caller's own signal ended a call that waits; `cause` is the signal's reason. What was waited for goes on. */
export class CallAbortedError extends TurnsError {
  readonly code = 'call_aborted';
  readonly disposition = 'cancelled';
  constructor(what: string, options?: { cause?: unknown }) {
    super(`${what} was aborted by its caller`, options);
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

/** A worker has claimed the turn, or it has ended: what only a waiting turn allows was not done. `cancel` ends one that runs. */
export class TurnStartedError extends TurnsError {
  readonly code = 'turn_started';
  readonly disposition = 'fail';
  readonly turnId: string;
  /** Whether it is over. */
  readonly finished: boolean;
  constructor(turnId: string, finished: boolean) {
    const what = finished ? 'has ended' : 'has started';
    super(`turn ${turnId} ${what}; only a turn that waits can be edited, moved, dropped or sent now`);
    this.turnId = turnId;
    this.finished = finished;
  }
}

/** Somebody else has edited the turn since the caller has read it; nothing was changed. Read it again. */
export class RevisionError extends TurnsError {
  readonly code = 'revision_mismatch';
  readonly disposition = 'fail';
  readonly turnId: string;
  /** What it is now. */
  readonly revision: number;
  constructor(turnId: string, revision: number) {
    super(`turn ${turnId} is at revision ${revision}; read it again before you edit it`);
    this.turnId = turnId;
    this.revision = revision;
  }
}

/** Only a turn that has failed or was cancelled is tried again. Nothing was enqueued. */
export class NotRetryableError extends TurnsError {
  readonly code = 'not_retryable';
  readonly disposition = 'fail';
  readonly turnId: string;
  readonly status: 'pending' | 'completed';
  constructor(turnId: string, status: 'pending' | 'completed') {
    super(`turn ${turnId} is ${status}; only one that has failed or was cancelled can be tried again`);
    this.turnId = turnId;
    this.status = status;
  }
}
