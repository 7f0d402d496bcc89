/** What lists show of messages and turns: never parts, reasoning, or what was asked of people. */
import type { FileRef } from '../artifacts/attachment.ts';
import type { Usage } from '../reply/part.ts';
import type { TurnEnd } from './entry.ts';
import type { TurnNotice, TurnStatus } from './stored-turn.ts';

interface AnyListedMessage {
  /** Of the message. That of a reply is its turn's. */
  readonly id: string;
  readonly turnId: string;
  /** Its place in the conversation. */
  readonly sequence: number;
  readonly policy: string;
  readonly text: string;
  /** What the user sent along, or the agent made. */
  readonly files: readonly FileRef[];
  readonly createdAt: number;
}

export interface ListedUserMessage extends AnyListedMessage {
  readonly role: 'user';
}

export interface ListedReply extends AnyListedMessage {
  readonly role: 'assistant';
  readonly status: TurnStatus;
  /** Of a pending one as far as it is stored; `turns.follow` tells more. */
  readonly progress: 'queued' | 'prompted' | 'finished';
  readonly error?: NonNullable<TurnEnd['error']>;
  readonly notice?: TurnNotice;
  readonly usage?: Usage;
  readonly durationMs?: number;
  readonly finishedAt?: number;
}

/** A message as a conversation's page shows it; `turns.get(turnId)` has all of its turn. */
export type ListedMessage = ListedUserMessage | ListedReply;

/** What to read of a conversation: its newest messages, or those next to a place in it. */
export interface MessageRange {
  /** Only messages whose sequence is lower: the nearest ones. */
  readonly before?: number;
  /** Only messages whose sequence is higher: the nearest ones. Not together with `before`. */
  readonly after?: number;
  readonly limit: number;
}

export interface MessagePage {
  /** In the order of the conversation, oldest first. */
  readonly messages: readonly ListedMessage[];
  /** The `before` of the page in front of this one; absent when there is none. */
  readonly before?: number;
  /** The `after` of the page behind this one; absent when there is none yet. */
  readonly after?: number;
}
