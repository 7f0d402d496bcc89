/**
 * OpenCode agent turns off the request path.
 *
 * ```ts
 * const turns = await connect(configFromEnv());
 * const turn = await turns.enqueue({ conversation, text, idempotencyKey });
 * for await (const entry of turns.follow(turn.id)) render(entry);
 *
 * const worker = await turns.work({ policies: { default: { model: 'anthropic/claude-sonnet-4-5' } } });
 * ```
 *
 * @module
 */
export type { AgentFile } from './artifacts/agent-file.ts';
export type { FileRef } from './artifacts/attachment.ts';
export { type Rendered, Transform, type TransformRule } from './artifacts/transform.ts';
export type { ConversationId, ConversationRef, EnqueueInput } from './client/enqueue-input.ts';
export {
  type ConversationModel,
  configFromEnv,
  type OpenCodeServerOptions,
  type TurnsOptions,
} from './config/options.ts';
export { connect } from './connect.ts';
export {
  CallAbortedError,
  ConflictError,
  CorruptFileError,
  DatabaseRefusedError,
  DocumentTooLargeError,
  type ErrorCode,
  FileTooLargeError,
  IllegalStateError,
  IndexConflictError,
  InvalidConfigError,
  InvalidInputError,
  isTurnsError,
  NotFoundError,
  ServiceUnavailableError,
  TransformError,
  TurnBusyError,
  TurnsError,
  UnsafeFileError,
} from './errors.ts';
export { consoleReporter, type ErrorReporter, type ReportContext } from './instrumentation/error-reporter.ts';
export { noopTracer, type Tracer } from './instrumentation/tracer.ts';
export type { FollowOptions } from './live/follow.ts';
export type { ResultOptions } from './live/result.ts';
export { opencodeSession } from './mongodb/opencode-session-plugin.ts';
export type { FileStore } from './ports/file-store.ts';
export type { CancelResult } from './ports/turn-store.ts';
export type { Exchange } from './reply/exchange.ts';
export type { Part, ReasoningPart, TextPart, TokenUsage, ToolPart, ToolStatus, Usage } from './reply/part.ts';
export type { Todo } from './reply/todo.ts';
export type { AnyDocument, ReadyConversation, TurnConversation } from './turn/conversation.ts';
export type { TurnEnd, TurnEntry, TurnProgress, TurnView } from './turn/entry.ts';
export type { FailureReason } from './turn/failure-sentences.ts';
export type { TurnOutcome } from './turn/outcome.ts';
export type { PermissionRule } from './turn/permission-rule.ts';
export type { Policies, TurnLimits, TurnPolicy } from './turn/policy.ts';
export type {
  FinishedTurn,
  InputAnswer,
  InputRequest,
  RunState,
  StoredTurn,
  TurnFailure,
  TurnNotice,
  TurnPhase,
  TurnStatus,
} from './turn/stored-turn.ts';
export type { Turns } from './turns.ts';
export type { RunningWorker, WorkOptions } from './worker/running-worker.ts';
