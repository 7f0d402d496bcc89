import mongoose, { Schema, SchemaType, type Types } from 'mongoose';
import { type ConversationIdType, idText, isObjectIdText, requireIdText } from '../turn/conversation-id.ts';

/** An id as our messages hold it. */
export type StoredConversationId = Types.ObjectId | Types.UUID | string | number | bigint;

/** As much of a model as says of what type a path of its documents is. */
interface TypedModel {
  readonly schema: { path(name: string): unknown };
}

/** By what Mongoose calls a path's type. */
const typeNames: Readonly<Record<string, ConversationIdType>> = {
  ObjectId: 'ObjectId',
  String: 'String',
  Number: 'Number',
  Int32: 'Number',
  UUID: 'UUID',
  BigInt: 'BigInt',
};

/** What Mongoose calls the type of a model's path; empty when it has none. */
export function pathType({ schema }: TypedModel, path = '_id'): string {
  const { instance } = (schema.path(path) ?? {}) as { instance?: unknown };
  return typeof instance === 'string' ? instance : '';
}

export const idTypeNamed = (name: string): ConversationIdType | undefined => typeNames[name];

/** A conversation's id on its way into a query. All methods throw InvalidInputError for what is not the text of one. */
export class ConversationIds {
  readonly type: ConversationIdType;

  constructor(type: ConversationIdType = 'ObjectId') {
    this.type = type;
  }

  /** Of the conversations' own model, or (`conversation`) of our messages. */
  static of(model: TypedModel, path?: string): ConversationIds {
    return new ConversationIds(idTypeNamed(pathType(model, path)));
  }

  /**
   * As our messages hold it: of the type that it has in the host's collection, so that a host finds them by its own ids. But what
   * looks as an ObjectId is one, as it has been since the first release, in which all were.
   */
  stored(id: string): StoredConversationId {
    return storedAs(this.type, requireIdText(this.type, id));
  }

  /**
   * For a query on the conversations' model, which makes its own kind of id of it: a host's model may come with a
   * driver of its own, which refuses the ids of ours.
   */
  key(id: string): string | number | bigint {
    const text = requireIdText(this.type, id);
    if (this.type === 'Number') return Number(text);
    return this.type === 'BigInt' ? BigInt(text) : text;
  }

  /**
   * Whether a document with this `_id` is the conversation, and not one that its database or its schema takes for it: a collation
   * that tells no case apart, a setter. Such a conversation would have turns under two ids, and two of them at once.
   */
  isOf(id: string, found: unknown): boolean {
    return idText(this.type, found) === id;
  }
}

function storedAs(type: ConversationIdType, id: string): StoredConversationId {
  if (isObjectIdText(id) && (type === 'ObjectId' || type === 'String'))
    return new mongoose.Types.ObjectId(id);
  if (type === 'Number') return Number(id);
  if (type === 'UUID') return new mongoose.Types.UUID(id);
  return type === 'BigInt' ? BigInt(id) : id;
}

/** The path `conversation` of our messages, for all ids but ObjectIds: hosts ask by their own id, or by its text. */
class ConversationPath extends SchemaType {
  readonly #type: ConversationIdType;

  constructor(path: string, options: object, instance: string) {
    super(path, options, instance);
    this.#type = instance as ConversationIdType;
  }

  override cast(value: unknown): unknown {
    if (value === null || value === undefined) return value;
    const id = idText(this.#type, value);
    if (id === undefined) throw new mongoose.Error.CastError(this.#type, value, this.path);
    return storedAs(this.#type, id);
  }
}

/** Of our messages. */
export const conversationPath = (type: ConversationIdType) =>
  type === 'ObjectId'
    ? { type: Schema.Types.ObjectId, required: true }
    : new ConversationPath('conversation', { required: true }, type);
