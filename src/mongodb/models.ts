import { type Connection, type Model, type mongo, Schema, type Types } from 'mongoose';
import type { FileRef } from '../artifacts/attachment.ts';
import type { TraceCarrier } from '../instrumentation/tracer.ts';
import type { Part, ToolPart, Usage } from '../reply/part.ts';
import type { ConversationIdType } from '../turn/conversation-id.ts';
import type {
  InputRequest,
  PromptedWith,
  RunState,
  TurnFailure,
  TurnNotice,
  TurnStatus,
} from '../turn/stored-turn.ts';
import { type CollectionNames, collectionNames } from './collection-names.ts';
import { conversationPath } from './conversation-ids.ts';
import { building, type WantedIndex } from './index-conflict.ts';
import { type OpenCodeSessionFields, opencodeSession } from './opencode-session-plugin.ts';
import { readParts } from './stored-json.ts';

export interface ConversationDoc extends OpenCodeSessionFields {
  _id: Types.ObjectId;
  title: string;
  createdAt: Date;
}

/**
 * A stored message. `parts`, the details of what was asked and the artifacts' metadata come from models, tools and hosts,
 * whose keys may hold "$" and ".": they are stored as JSON text, so that every key survives and none is ever
 * read as an operator.
 */
export interface MessageDoc<Id = Types.ObjectId> {
  _id: Types.ObjectId;
  /** As its `_id` in the host's collection; but one of 24 hex digits is an ObjectId, whatever it is there. */
  conversation: Id;
  /** The collection of its conversation: processes with another model leave the turn alone. Absent on older ones. */
  conversationCollection?: string;
  /** In which version it is stored, see `turn/versions.ts`. Absent on older ones. */
  schemaVersion?: number;
  sequence: number;
  role: 'user' | 'assistant';
  status: TurnStatus;
  text: string;
  createdAt: Date;
  /** On a user message: the assistant message that answers it. On that one: the user message. */
  counterpart: Types.ObjectId;
  idempotencyKey?: string;
  policy: string;
  carrier?: TraceCarrier;
  /** Where it was moved to while it waited, see `turn/position.ts`. */
  position?: string;
  /** It is to go next in place of what runs: asked for, or placed in front with the turn that it `interrupts`, if any. */
  sendNow?: 'due' | 'placed';
  interrupts?: string;
  /** The turn that it tries again. */
  retryOf?: string;
  /** How often somebody has changed the order or held the conversation while it waited: a claim that looked before loses. */
  steered?: number;
  /**
   * What its user's message says since it was edited; copied there, so that this is newer or the same. `token` tells one edit from
   * all others.
   */
  edit?: { readonly revision: number; readonly text: string; readonly token: string };
  reasoning: string;
  parts: string;
  usage?: Usage;
  /** `claim` tells one claim from all others; `firstClaimedAt` is `startedAt` of a turn that has stored none itself. */
  run?: Omit<RunState, 'claimedAt'> & {
    active?: boolean;
    /** Its end is not announced; from when on somebody may take it to announce it, Unix ms. */
    announceFrom?: number;
    claim?: string;
    claimedAt?: Date;
    firstClaimedAt?: Date;
    /** When a worker met it first and last that did not know its policy; gone once it is claimed. */
    policySoughtSince?: Date;
    policySoughtAt?: Date;
  };
  requests: (Omit<InputRequest, 'details' | 'answer'> & { details: string; answer?: string })[];
  promptedWith?: PromptedWith;
  artifacts: (Omit<FileRef, 'metadata'> & { metadata: string })[];
  error?: TurnFailure;
  notice?: TurnNotice;
  durationMs?: number;
  timeToFirstTokenMs?: number;
  finishedAt?: Date;
}

/**
 * What a hydrated message offers beside its fields; all are read from `parts`, and none ever throws: what is no part
 * is left out, and `damaged` names the field then.
 */
export interface MessageVirtuals {
  readonly replyParts: readonly Part[];
  readonly toolCalls: readonly ToolPart[];
  readonly damaged: 'parts' | undefined;
}

const mixed = Schema.Types.Mixed;

function conversationSchema(): Schema {
  const schema = new Schema(
    { title: { type: String, default: 'Conversation', maxlength: 500 } },
    schemaOptions,
  );
  schema.plugin(opencodeSession);
  return schema;
}

const schemaOptions = {
  strict: 'throw' as const,
  minimize: false,
  timestamps: { createdAt: true, updatedAt: false },
};

function messageSchema(idType: ConversationIdType): Schema {
  const schema = new Schema(
    {
      conversation: conversationPath(idType) as never,
      conversationCollection: { type: String },
      // Mixed, as all that may have been stored by another release: nothing is cast.
      schemaVersion: { type: mixed },
      sequence: { type: Number, required: true },
      role: { type: String, enum: ['user', 'assistant'], required: true },
      status: { type: String, enum: ['pending', 'completed', 'error', 'cancelled'], required: true },
      text: { type: String, default: '' },
      counterpart: { type: Schema.Types.ObjectId, required: true },
      idempotencyKey: { type: String },
      policy: { type: String, required: true },
      carrier: { type: mixed },
      position: { type: String },
      retryOf: { type: String },
      sendNow: { type: String },
      interrupts: { type: String },
      steered: { type: Number },
      edit: { type: mixed },
      reasoning: { type: String, default: '' },
      parts: { type: String, default: '[]' },
      usage: { type: mixed },
      run: { type: mixed },
      requests: { type: [mixed], default: [] },
      promptedWith: { type: mixed },
      artifacts: { type: [mixed], default: [] },
      error: { type: mixed },
      notice: { type: mixed },
      durationMs: { type: Number },
      timeToFirstTokenMs: { type: Number },
      finishedAt: { type: Date },
    },
    schemaOptions,
  );
  // Insertion order is sequence order: a number is free until its message is there.
  schema.index({ conversation: 1, sequence: 1 }, { unique: true, name: 'conversation_sequence' });
  schema.index(
    { conversation: 1, idempotencyKey: 1 },
    {
      unique: true,
      name: 'conversation_idempotency',
      partialFilterExpression: { idempotencyKey: { $type: 'string' } },
    },
  );
  // At most one claimed turn per conversation, whatever the queue does.
  schema.index(
    { conversation: 1 },
    { unique: true, name: 'conversation_one_active', partialFilterExpression: { 'run.active': true } },
  );
  // A conversation grows; its pending turns stay few, and finding the first one must not read the rest.
  schema.index(
    { conversation: 1, role: 1, sequence: 1 },
    { name: 'conversation_pending', partialFilterExpression: { status: 'pending' } },
  );
  // Few, too: those that were moved. The others stand where their sequence says.
  schema.index(
    { conversation: 1, position: 1, sequence: 1 },
    {
      name: 'conversation_moved',
      partialFilterExpression: { status: 'pending', position: { $type: 'string' } },
    },
  );
  // Few at any time: runs that could not be seen to end.
  schema.index({ 'run.stopTriedAt': 1 }, { name: 'open_stops', sparse: true });
  // As few: ends that are still to be told.
  schema.index({ 'run.announceFrom': 1 }, { name: 'unannounced_ends', sparse: true });
  schema.index({ status: 1, role: 1, createdAt: 1, _id: 1 }, { name: 'pending_in_order' });
  listIndexes(schema);
  schema.virtual('replyParts').get(function (this: { parts: string }) {
    return readParts(this.parts).parts;
  });
  schema.virtual('toolCalls').get(function (this: { parts: string }) {
    return readParts(this.parts).parts.filter(({ type }) => type === 'tool');
  });
  schema.virtual('damaged').get(function (this: { parts: string }) {
    return readParts(this.parts).whole ? undefined : 'parts';
  });
  return schema;
}

/**
 * With the one before, an index for each set of conditions that turns are listed by (`listed-turns.ts`), the order always last. None
 * of them is needed for anything else. Of failed turns and of waiting ones there are few.
 */
function listIndexes(schema: Schema): void {
  const newest = { createdAt: 1, _id: 1 } as const;
  const replies = { role: 'assistant' };
  const failed = { 'error.reason': { $exists: true } };
  const asking = { status: 'pending', 'requests.state': 'open' };
  const listed = (name: string, key: Record<string, 1>, partialFilterExpression: Record<string, unknown>) =>
    schema.index({ ...key, ...newest }, { name, partialFilterExpression });
  listed('listed_by_policy', { policy: 1, status: 1 }, replies);
  listed('listed_by_reason', { 'error.reason': 1, status: 1 }, failed);
  listed('listed_by_policy_and_reason', { policy: 1, 'error.reason': 1, status: 1 }, failed);
  listed('listed_waiting', {}, asking);
  listed('listed_waiting_by_policy', { policy: 1 }, asking);
}

/** As what messages hold the ids of conversations of the type `R`. */
export type MessageConversation<R> = R extends { readonly _id?: infer Id }
  ? unknown extends Id
    ? Types.ObjectId
    : NonNullable<Id> extends string
      ? string | Types.ObjectId
      : NonNullable<Id>
  : Types.ObjectId;

type None = Record<never, never>;
export type MessageModel<Id = Types.ObjectId> = Model<MessageDoc<Id>, None, None, MessageVirtuals>;

/** `Id`: of the conversations, as messages hold it. */
export interface TurnModels<Id = Types.ObjectId> {
  readonly Conversation: Model<ConversationDoc>;
  readonly Message: MessageModel<Id>;
}

/** The ready-made models on a connection; `idType` is that of the conversations' model. May be called again: the same models. */
export function turnModels(
  connection: Connection,
  names: CollectionNames = collectionNames(),
  idType: ConversationIdType = 'ObjectId',
): TurnModels {
  const model = <T>(name: string, schema: () => Schema, collection: string) =>
    (connection.models[name] ?? connection.model(name, schema(), collection)) as unknown as Model<T>;
  return {
    Conversation: model<ConversationDoc>('Conversation', conversationSchema, names.conversations),
    Message: model<MessageDoc>(
      'Message',
      () => messageSchema(idType),
      names.messages,
    ) as unknown as MessageModel,
  };
}

/**
 * Builds the indexes of these models. Idempotent; run it at deploy time. Throws IndexConflictError for one that meets
 * another index or documents that it cannot hold, ServiceUnavailableError, DatabaseRefusedError.
 */
export async function ensureIndexes(models: readonly Model<never>[]): Promise<void> {
  for (const model of models) {
    const wanted = model.schema.indexes().map(([key, options]) => ({ ...options, key })) as WantedIndex[];
    await building(model.collection as unknown as mongo.Collection, wanted, async () => {
      await model.createCollection();
      await model.createIndexes();
    });
  }
}
