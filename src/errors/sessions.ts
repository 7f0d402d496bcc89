/** What happens in a session of the OpenCode server. */
import { TurnsError } from './turns-error.ts';

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
