import { NotFoundError } from '../errors.ts';
import { maxPageLength, type TurnLists } from '../ports/turn-lists.ts';
import { publicFailure } from '../turn/entry.ts';
import type { ListedMessage, MessagePage, MessageRange } from '../turn/listed.ts';
import type { MemoryConversations } from './memory-conversations.ts';
import { checkId, stored } from './memory-ids.ts';
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
    const id = checkId(conversationId, 'conversation');
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
}

function messagesOf({ turn, messageId }: MemoryTurn): readonly ListedMessage[] {
  const { id: turnId, sequence, policy, createdAt, status, run, error, notice, usage } = turn;
  const { durationMs, finishedAt } = turn;
  const every = { turnId, policy, createdAt };
  const isQueued = run.phase === 'queued';
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
      progress: status !== 'pending' ? 'finished' : isQueued ? 'queued' : 'prompted',
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
