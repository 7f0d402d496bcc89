import { NotFoundError } from '../errors.ts';
import { maxPageLength, type TurnLists } from '../ports/turn-lists.ts';
import { publicFailure } from '../turn/entry.ts';
import {
  type ListedMessage,
  type ListedTurn,
  listedRunFields,
  type MessagePage,
  type MessageRange,
  type OpenRequest,
  possibleStatuses,
  type TurnQuery,
} from '../turn/listed.ts';
import type { StoredTurn } from '../turn/stored-turn.ts';
import type { MemoryConversations } from './memory-conversations.ts';
import { stored } from './memory-ids.ts';
import type { MemoryTurn, MemoryTurns } from './memory-turns.ts';

/** TurnLists over what a MemoryTurnStore holds. */
export class MemoryTurnLists implements TurnLists {
  readonly #turns: MemoryTurns;
  readonly #conversations: MemoryConversations;

  constructor(turns: MemoryTurns, conversations: MemoryConversations) {
    this.#turns = turns;
    this.#conversations = conversations;
  }

  async messages(conversationId: string, { before, after, limit }: MessageRange): Promise<MessagePage> {
    const id = this.#conversations.idOf(conversationId);
    const all = this.#turns.of(id).flatMap(messagesOf);
    if (all.length === 0 && !this.#conversations.has(id)) throw new NotFoundError('conversation', id);
    const start = after ?? Number.NEGATIVE_INFINITY;
    const end = before ?? Number.POSITIVE_INFINITY;
    const within = all.filter(({ sequence }) => sequence > start && sequence < end);
    const messages =
      after === undefined ? fitted(within.toReversed(), limit).toReversed() : fitted(within, limit);
    // Of an empty page the place itself, from its other side.
    const first = messages[0]?.sequence ?? Math.min((after ?? 0) + 1, Number.MAX_SAFE_INTEGER);
    const last = messages.at(-1)?.sequence ?? (after === undefined ? Math.max((before ?? 0) - 1, 0) : after);
    return stored({
      messages,
      ...(all.some(({ sequence }) => sequence < first) ? { before: first } : {}),
      ...(all.some(({ sequence }) => sequence > last) ? { after: last } : {}),
    });
  }

  async waitingForPeople(conversationId: string): Promise<readonly OpenRequest[]> {
    const turns = this.#turns.of(this.#conversations.idOf(conversationId));
    const pending = turns.filter(({ turn }) => turn.status === 'pending');
    return stored(pending.flatMap(({ turn }) => openRequestsOf(turn)));
  }

  async turns(
    query: TurnQuery,
  ): Promise<{ readonly turns: readonly ListedTurn[]; readonly isMore: boolean }> {
    const all = this.#turns.all.filter(({ turn }) => isAskedFor(turn, query)).sort(newestFirst);
    const turns = all.slice(0, query.limit).map(({ turn }) => listedTurnOf(turn));
    return stored({ turns, isMore: turns.length < all.length });
  }
}

const openRequestsOf = ({ id: turnId, requests }: StoredTurn): readonly OpenRequest[] =>
  requests.flatMap(({ answer, ...request }) =>
    request.state === 'open' && answer === undefined ? [{ turnId, ...request }] : [],
  );

const isWaiting = (turn: StoredTurn) => turn.status === 'pending' && openRequestsOf(turn).length > 0;

function isAskedFor(turn: StoredTurn, query: TurnQuery): boolean {
  const { policy, reason, waitingForPeople, since = 0, until = Number.POSITIVE_INFINITY, behind } = query;
  return (
    possibleStatuses(query).includes(turn.status) &&
    (policy === undefined || turn.policy === policy) &&
    (reason === undefined || turn.error?.reason === reason) &&
    (!waitingForPeople || isWaiting(turn)) &&
    turn.createdAt >= since &&
    turn.createdAt < until &&
    (!behind || newestFirst({ turn: behind }, { turn }) < 0)
  );
}

type Place = { readonly turn: Pick<StoredTurn, 'id' | 'createdAt'> };

const newestFirst = ({ turn: a }: Place, { turn: b }: Place) =>
  b.createdAt - a.createdAt || (a.id < b.id ? 1 : a.id > b.id ? -1 : 0);

function listedTurnOf(turn: StoredTurn): ListedTurn {
  const { id, conversationId, sequence, status, policy, createdAt } = turn;
  const run = picked(turn.run, listedRunFields) as ListedTurn['run'];
  const rest = picked(turn, ['error', 'notice', 'usage', 'durationMs', 'timeToFirstTokenMs', 'finishedAt']);
  const state = { status, progress: progressOf(turn), waitingForPeople: isWaiting(turn) };
  return { id, conversationId, sequence, policy, createdAt, ...state, run, ...rest };
}

const picked = <T extends object, K extends keyof T>(from: T, keys: readonly K[]) =>
  Object.fromEntries(keys.map((key) => [key, from[key]])) as Partial<Pick<T, K>>;

function progressOf({ status, run }: StoredTurn): ListedTurn['progress'] {
  if (status !== 'pending') return 'finished';
  return run.phase === 'queued' ? 'queued' : 'prompted';
}

function messagesOf({ turn, messageId }: MemoryTurn): readonly ListedMessage[] {
  const { id: turnId, sequence, policy, createdAt, status, error, notice, usage } = turn;
  const { durationMs, finishedAt } = turn;
  const every = { turnId, policy, createdAt };
  return [
    {
      role: 'user',
      id: messageId,
      ...every,
      sequence: sequence - 1,
      text: turn.userText,
      files: turn.uploads,
    },
    {
      role: 'assistant',
      id: turnId,
      ...every,
      sequence,
      text: turn.text,
      files: turn.artifacts,
      status,
      progress: progressOf(turn),
      ...(error ? { error: publicFailure(error) } : {}),
      ...(notice ? { notice } : {}),
      ...(usage ? { usage } : {}),
      ...(durationMs === undefined ? {} : { durationMs }),
      ...(finishedAt === undefined ? {} : { finishedAt }),
    },
  ];
}

/** As many from the beginning as one page holds. */
function fitted(messages: readonly ListedMessage[], limit: number): readonly ListedMessage[] {
  let left = maxPageLength;
  const over = messages.findIndex(({ text, files }, at) => {
    left -= files.reduce((sum, { metadata }) => sum + JSON.stringify(metadata).length, text.length);
    return at > 0 && left < 0;
  });
  return messages.slice(0, over < 0 ? limit : Math.min(limit, over));
}
