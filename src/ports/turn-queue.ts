import type { FileRef } from '../artifacts/attachment.ts';
import type { Place } from '../turn/queue-order.ts';

/** A turn of a conversation's queue. */
export interface QueuedTurn {
  readonly id: string;
  readonly policy: string;
  /** What was asked, at most 4,000 UTF-8 bytes of it; `isCut` when there is more. */
  readonly text: string;
  readonly isCut: boolean;
  readonly files: readonly Pick<FileRef, 'filename' | 'contentType' | 'bytes'>[];
  /** How often its text was edited; what an edit names so that it changes nothing that its author has not seen. */
  readonly revision: number;
  /** Unix ms. */
  readonly createdAt: number;
}

export interface RunningTurn extends QueuedTurn {
  /** Nothing of it goes on before a person has answered. */
  readonly waitsForPerson: boolean;
}

export interface Hold {
  /** Unix ms. */
  readonly at: number;
  readonly by?: string;
}

export interface ConversationQueue {
  readonly running?: RunningTurn;
  /** In the order in which they will run; the first 200. */
  readonly waiting: readonly QueuedTurn[];
  /** How many wait beyond those. */
  readonly more: number;
  /** There while nothing new starts. */
  readonly hold?: Hold;
}

export type EditResult =
  | { readonly kind: 'edited'; readonly revision: number }
  | { readonly kind: 'revision'; readonly revision: number }
  | { readonly kind: 'started' | 'finished' };

export type MoveResult =
  | { readonly kind: 'moved' }
  /** `turnId` does not wait any more: the one to be moved, or its neighbour to be. */
  | { readonly kind: 'started' | 'finished'; readonly turnId: string };

/** `interrupts`: the turn that runs, and is to be stopped for this one. */
export type SentNow = MoveResult & { readonly interrupts?: string };

/**
 * The turns of a conversation that wait, and their order. Each change is one compare-and-set on a turn that no worker has
 * claimed: of a change and a claim at the same moment exactly one wins. Errors: ServiceUnavailableError('mongodb');
 * NewerVersionError for a turn of a newer release, and nothing is written then; NotFoundError.
 */
export interface TurnQueue {
  queue(conversationId: string): Promise<ConversationQueue>;
  /** Replaces the text. With `revision` only over that one; without, over whatever is there. */
  edit(turnId: string, text: string, revision?: number): Promise<EditResult>;
  /** Throws ConflictError where no place is left in a gap, and InvalidInputError for a neighbour of another conversation. */
  move(turnId: string, place: Place): Promise<MoveResult>;
  /** First of all that wait, and says which turn is to be interrupted for it: that one is stored with it. */
  sendNow(turnId: string): Promise<SentNow>;
  /** From now on no waiting turn of it is claimed. Returns the turn that runs. Again: changes `by` alone. */
  hold(conversationId: string, by: string | undefined): Promise<{ readonly running: string | undefined }>;
  /** Idempotent. */
  release(conversationId: string): Promise<void>;
}
