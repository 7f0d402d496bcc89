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
 * @module opencode-turns
 */
export type { AgentFile } from './artifacts/agent-file.ts';
export type { Artifact } from './artifacts/artifact.ts';
export type { FileRef, NewFile } from './artifacts/attachment.ts';
export type { FileContent } from './artifacts/content-pieces.ts';
export type { HostConfigFile } from './artifacts/server-config-files.ts';
export { type CallBounds, type Rendered, Transform, type TransformRule } from './artifacts/transform.ts';
export type { UploadedFile } from './artifacts/uploaded-files-prompt.ts';
export type { ConversationId, ConversationRef, EnqueueInput, OnBusy } from './client/enqueue-input.ts';
export type { ListOptions } from './client/list-turns.ts';
export type { MessagePageOptions } from './client/page-options.ts';
export type { EditOptions, HoldOptions } from './client/queue-options.ts';
export { configFromEnv } from './config/env.ts';
export type { ConversationModel, OpenCodeServerOptions, TurnsOptions } from './config/options.ts';
export type { RedisServerOptions } from './config/redis-address.ts';
export { connect } from './connect.ts';
export type { Conversation, ConversationInput } from './conversation/conversation.ts';
export {
  CallAbortedError,
  ConflictError,
  CorruptFileError,
  DatabaseRefusedError,
  type Disposition,
  DocumentTooLargeError,
  type ErrorCode,
  FileTooLargeError,
  IllegalStateError,
  IndexConflictError,
  InvalidConfigError,
  InvalidInputError,
  isTurnsError,
  NotFoundError,
  NotRetryableError,
  RevisionError,
  type ServiceName,
  ServiceUnavailableError,
  TransformError,
  TurnBusyError,
  TurnStartedError,
  TurnsError,
  UnsafeFileError,
} from './errors.ts';
export type { AttributeName, Attributes, AttributeValue } from './instrumentation/attributes.ts';
export { consoleReporter, type ErrorReporter, type ReportContext } from './instrumentation/error-reporter.ts';
export { consoleLogger, jsonLogger, type LogFields, type Logger } from './instrumentation/logger.ts';
export { type Meter, noopMeter, type Observation } from './instrumentation/meter.ts';
export {
  type CounterName,
  type GaugeName,
  type HistogramName,
  type MetricAttributes,
  type MetricName,
  metrics,
} from './instrumentation/metrics.ts';
export {
  noopTracer,
  type SpanHandle,
  type SpanKind,
  type SpanOptions,
  type TraceCarrier,
  type Tracer,
} from './instrumentation/tracer.ts';
export type { FollowOptions } from './live/follow.ts';
export type { ResultOptions } from './live/result.ts';
export type {
  ConversationDoc,
  MessageConversation,
  MessageDoc,
  MessageModel,
  TurnModels,
} from './mongodb/models.ts';
export { opencodeSession, type PluggableSchema } from './mongodb/opencode-session-plugin.ts';
export type { FileStore } from './ports/file-store.ts';
export type { ConversationQueue, Hold, QueuedTurn, RunningTurn } from './ports/turn-queue.ts';
export type { CancelResult } from './ports/turn-store.ts';
export type { Exchange } from './reply/exchange.ts';
export type { ExchangeError } from './reply/exchange-error.ts';
export type { Part, ReasoningPart, TextPart, TokenUsage, ToolPart, ToolStatus, Usage } from './reply/part.ts';
export type { PartSource } from './reply/part-source.ts';
export type { Todo } from './reply/todo.ts';
export type { ToolFile } from './reply/tool-files.ts';
export type { MessageKind } from './reply/turn-messages.ts';
export type {
  PermissionsUpdate,
  SessionCallOptions,
  SessionHandle,
  SessionOptions,
} from './session/handle.ts';
export type { AnyDocument, ReadyConversation, TurnConversation } from './turn/conversation.ts';
export type {
  InputRequestView,
  TurnEnd,
  TurnEntry,
  TurnEntryBody,
  TurnProgress,
  TurnView,
} from './turn/entry.ts';
export type { FailureReason } from './turn/failure-sentences.ts';
export type { TurnLimits } from './turn/limits.ts';
export type {
  ListedMessage,
  ListedReply,
  ListedRun,
  ListedTurn,
  ListedUserMessage,
  MessagePage,
  OpenRequest,
  TurnPage,
} from './turn/listed.ts';
export type { TurnOutcome, TurnResult } from './turn/outcome.ts';
export type { PermissionRule } from './turn/permission-rule.ts';
export type { Policies, TurnPolicy } from './turn/policy.ts';
export type { Place } from './turn/queue-order.ts';
export type {
  FinishedTurn,
  InputAnswer,
  InputRequest,
  PermissionReply,
  PromptedWith,
  RunState,
  SessionRef,
  StopRef,
  StoredTurn,
  TurnFailure,
  TurnNotice,
  TurnPhase,
  TurnStatus,
} from './turn/stored-turn.ts';
export type { Turns } from './turns.ts';
export type { RunningWorker, WorkerState, WorkOptions } from './worker/running-worker.ts';
