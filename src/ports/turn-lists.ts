import type { ListedTurn, MessagePage, MessageRange, OpenRequest, TurnQuery } from '../turn/listed.ts';

/**
 * Many turns at once, to be shown. All is read by an index, and no answer grows with what is stored: the texts of a page have
 * `maxPageLength` together, and one that would be longer ends earlier. What newer releases have stored is listed as far as it
 * can be read. Errors: `ServiceUnavailableError('mongodb')`.
 */
export interface TurnLists {
  /** Each message of a conversation is on one page, whichever way one goes, while others are added behind. Throws NotFoundError. */
  messages(conversationId: string, range: MessageRange): Promise<MessagePage>;
  /** What a conversation's turn waits for, in the order in which it was asked; nothing of a conversation that is not there. */
  waitingForPeople(conversationId: string): Promise<readonly OpenRequest[]>;
  /** Newest first (by creation, then id), and whether there are more. */
  turns(query: TurnQuery): Promise<{ readonly turns: readonly ListedTurn[]; readonly isMore: boolean }>;
}

/** Texts and files' metadata of one page, in UTF-16 units. A page has one message at least, however long. */
export const maxPageLength = 4 * 1024 * 1024;
