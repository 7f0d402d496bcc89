import type { MessagePage, MessageRange } from '../turn/listed.ts';

/**
 * Many turns at once, to be shown. All is read by an index, and no answer grows with what is stored: the texts of a page have
 * `maxPageLength` together, and one that would be longer ends earlier. What newer releases have stored is listed as far as it
 * can be read. Errors: `ServiceUnavailableError('mongodb')`.
 */
export interface TurnLists {
  /** Each message of a conversation is on one page, whichever way one goes, while others are added behind. Throws NotFoundError. */
  messages(conversationId: string, range: MessageRange): Promise<MessagePage>;
}

/** Texts and files' metadata of one page, in UTF-16 units. A page has one message at least, however long. */
export const maxPageLength = 4 * 1024 * 1024;
