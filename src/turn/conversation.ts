import type { SessionRef } from './stored-turn.ts';

/** A host's document, whatever its model is. */
export type AnyDocument = Readonly<Record<string, unknown>>;

/** A document of the ready-made model, lean. A type and no interface, so that it is an `AnyDocument`, too. */
export type ReadyConversation = {
  readonly _id: unknown;
  readonly title: string;
  readonly createdAt: Date;
};

/** A conversation as a policy's functions get it. `R` is the type of the host's documents. */
export interface TurnConversation<R = AnyDocument> {
  /** As text. Of a host's own making, unless it is an ObjectId: nothing to make a path of. */
  readonly id: string;
  readonly title: string;
  /** The session that the conversation had when it was read. */
  readonly session?: SessionRef;
  /** What waits in it is held, see `Conversation.hold`. */
  readonly held?: true;
  /** The host's own document as it is stored at that moment, lean. */
  readonly document: Readonly<R>;
}
