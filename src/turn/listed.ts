/** What lists show of messages and turns: never parts, reasoning, or what was asked of people. */
import type { FileRef } from '../artifacts/attachment.ts';
import type { Usage } from '../reply/part.ts';
import type { InputRequestView, TurnEnd } from './entry.ts';
import type { RunState, TurnFailure, TurnNotice, TurnStatus } from './stored-turn.ts';

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

/** A question or permission that nobody has answered yet, with the turn that waits for it: what `turns.answer` takes. */
export type OpenRequest = InputRequestView & { readonly turnId: string };

/** A turn as operators list it: no text of anybody's, but for what a service said of a failure. `turns.get(id)` has the rest. */
export interface ListedTurn {
  readonly id: string;
  readonly conversationId: string;
  readonly sequence: number;
  readonly status: TurnStatus;
  readonly progress: 'queued' | 'prompted' | 'finished';
  /** Whether it waits for an answer that nobody has given. */
  readonly waitingForPeople: boolean;
  readonly policy: string;
  readonly run: ListedRun;
  readonly error?: TurnFailure;
  readonly notice?: TurnNotice;
  readonly usage?: Usage;
  readonly durationMs?: number;
  readonly timeToFirstTokenMs?: number;
  readonly createdAt: number;
  readonly finishedAt?: number;
}

/** Who runs it where, and what became of it so far. */
export type ListedRun = Pick<
  RunState,
  | 'phase'
  | 'epoch'
  | 'owner'
  | 'sessionId'
  | 'server'
  | 'directory'
  | 'startedAt'
  | 'claimedAt'
  | 'awaySince'
  | 'promptedAt'
  | 'cancelRequestedAt'
  | 'reruns'
  | 'resends'
>;

export const listedRunFields: readonly (keyof ListedRun)[] = [
  'phase',
  'epoch',
  'owner',
  'sessionId',
  'server',
  'directory',
  'startedAt',
  'claimedAt',
  'awaySince',
  'promptedAt',
  'cancelRequestedAt',
  'reruns',
  'resends',
];

/** Which turns to list; all that is said must be true of them. Times are Unix ms. */
export interface TurnQuery {
  readonly status?: TurnStatus;
  readonly policy?: string;
  readonly reason?: string;
  readonly waitingForPeople?: true;
  /** Created at this time or later. */
  readonly since?: number;
  /** Created before this time. */
  readonly until?: number;
  /** Only turns behind this one: created before it, or at its time with a lower id. */
  readonly behind?: { readonly id: string; readonly createdAt: number };
  readonly limit: number;
}

export interface TurnPage {
  /** Newest first. */
  readonly turns: readonly ListedTurn[];
  /** The `cursor` of what comes next; absent when this is all. */
  readonly cursor?: string;
}

/** What a turn may be when this is said of it: of the other statuses there are none. */
export function possibleStatuses({
  status,
  reason,
  waitingForPeople,
}: Partial<TurnQuery>): readonly TurnStatus[] {
  const all: readonly TurnStatus[] = ['pending', 'completed', 'error', 'cancelled'];
  return all.filter(
    (one) =>
      (status === undefined || one === status) &&
      (reason === undefined || one === 'error' || one === 'cancelled') &&
      (!waitingForPeople || one === 'pending'),
  );
}
