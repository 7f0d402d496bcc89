import { TurnsError } from './turns-error.ts';

/** A stored turn makes no sense, so nothing can be done for it that could not be wrong. `problem` names the field. */
export class CorruptTurnError extends TurnsError {
  readonly code = 'corrupt_turn';
  readonly disposition = 'fail';
  readonly turnId: string;
  readonly problem: string;
  constructor(turnId: string, problem: string) {
    super(`turn ${turnId} is stored wrongly: ${problem}`);
    this.turnId = turnId;
    this.problem = problem;
  }
}

/**
 * The permission rules of a turn's policy could not be brought about in its session: the server refused them, or did not
 * keep them. Nothing was prompted.
 */
export class PolicyNotAppliedError extends TurnsError {
  readonly code = 'policy_not_applied';
  readonly disposition = 'fail';
  readonly policy: string;
  constructor(policy: string, options?: { cause?: unknown }) {
    super(
      `the server did not take the permission rules of policy "${policy}"; nothing was prompted`,
      options,
    );
    this.policy = policy;
  }
}

/**
 * A permission was given, or a question answered, by somebody who is no person of ours: no such answer is stored. Whoever
 * has the server's password can. `reply` is what upstream told of it. Without a `requestId` it was asked for and given while
 * nobody listened, and what ran says so.
 */
export class AnsweredElsewhereError extends TurnsError {
  readonly code = 'answered_elsewhere';
  readonly disposition = 'fail';
  readonly kind: 'question' | 'permission';
  readonly requestId: string | undefined;
  readonly sessionId: string;
  readonly reply: string | undefined;
  constructor(
    kind: AnsweredElsewhereError['kind'],
    requestId: string | undefined,
    sessionId: string,
    reply: string | undefined,
  ) {
    const name = requestId ?? 'that nobody has heard of';
    super(`${kind} ${name} of session ${sessionId} was answered, and by nobody of ours`);
    this.kind = kind;
    this.requestId = requestId;
    this.sessionId = sessionId;
    this.reply = reply;
  }
}

/**
 * Where the agent works there are settings of the OpenCode server that no host put there: it would run what they say with
 * its own rights. `files` are paths relative to the agent's directory. Nothing was prompted.
 */
export class ServerConfigFilesError extends TurnsError {
  readonly code = 'server_config_files';
  readonly disposition = 'fail';
  readonly files: readonly string[];
  constructor(files: readonly string[], options?: { cause?: unknown }) {
    const shown = files.slice(0, 5).map((file) => JSON.stringify(file.slice(0, 200)));
    const more = files.length > shown.length ? ` and ${files.length - shown.length} more` : '';
    super(
      `settings of the server that no host put there, or that cannot be looked at: ${shown.join(', ')}${more}; ` +
        "remove them, name your own in the policy's hostConfigFiles, or choose another serverConfigFiles",
      options,
    );
    this.files = files;
  }
}

/**
 * Code of the host did not do its part. `policy` and `hook` say which (`policies.NAME.HOOK`), `kind` how: it threw,
 * did not return in time, or returned what it may not.
 */
export class PolicyHookError extends TurnsError {
  readonly code = 'policy_hook_failed';
  readonly disposition = 'fail';
  readonly policy: string;
  readonly hook: string;
  readonly kind: 'threw' | 'timeout' | 'invalid';
  constructor(
    policy: string,
    hook: string,
    kind: PolicyHookError['kind'],
    problem: string,
    options?: { cause?: unknown },
  ) {
    super(`policies.${policy}.${hook}: ${problem}`, options);
    this.policy = policy;
    this.hook = hook;
    this.kind = kind;
  }
}

/**
 * A turn has ended as an error: told to the ErrorReporter, once, and shown by the board as the reason of its failed job.
 * `reason` is the stored one, `problem` names the upstream or local error behind it. No text of a person, a model or a
 * server is in it; that is in the stored turn's `error.message`.
 */
export class TurnFailedError extends TurnsError {
  readonly code = 'turn_failed';
  readonly disposition = 'fail';
  readonly turnId: string;
  readonly reason: string;
  readonly problem: string | undefined;
  readonly statusCode: number | undefined;
  constructor(turnId: string, failure: { reason: string; name?: string; statusCode?: number }) {
    const { reason, name, statusCode } = failure;
    const because = [name, statusCode].filter((each) => each !== undefined).join(' ');
    super(`turn ${turnId} ended as an error: ${reason}${because === '' ? '' : ` (${because})`}`);
    this.turnId = turnId;
    this.reason = reason;
    this.problem = name;
    this.statusCode = statusCode;
  }
}

/**
 * A turn whose conversation is in another collection than this process's `conversations` model: it is left to a process
 * with that model, and waits until there is one. Give every process of a deployment the same model, or each model a key
 * prefix and a database (or a collection prefix) of its own.
 */
export class ForeignConversationError extends TurnsError {
  readonly code = 'foreign_conversation';
  readonly disposition = 'retry';
  readonly turnId: string;
  /** Where its conversation is. */
  readonly collection: string;
  constructor(turnId: string, collection: string) {
    super(
      `turn ${turnId} is of a conversation in the collection "${collection}", which is not the one of this process's "conversations" model; it waits for a process that is connected with that model`,
    );
    this.turnId = turnId;
    this.collection = collection;
  }
}

/**
 * Something was stored by a newer release in a form that this one does not know: it is neither read nor changed here, and
 * left to a process of that release. `id` is that of the turn, or of the conversation whose session data it is (`session`), or
 * of the job. Deploy the newer release here, too; see docs/upgrading.md.
 */
export class NewerVersionError extends TurnsError {
  readonly code = 'newer_version';
  readonly disposition = 'fail';
  readonly kind: 'turn' | 'session' | 'entry' | 'job';
  readonly id: string;
  /** The version that it is stored in. */
  readonly found: number;
  /** The highest version that this release reads. */
  readonly known: number;
  constructor(kind: NewerVersionError['kind'], id: string, found: number, known: number) {
    super(`${storedAs[kind]} ${id} is stored in version ${found}; this release knows version ${known}`);
    this.kind = kind;
    this.id = id;
    this.found = found;
    this.known = known;
  }
}

const storedAs = {
  turn: 'turn',
  session: 'the session of conversation',
  entry: 'an entry of turn',
  job: 'the job',
} as const;
