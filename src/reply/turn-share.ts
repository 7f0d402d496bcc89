import { type Author, authorOf, isSummary } from './turn-messages.ts';
import type { WireMessage } from './wire.ts';

/** What of a session's messages is one turn's. All lists are in the order of the session's. */
export interface TurnShare {
  readonly userMessage: WireMessage | undefined;
  readonly answers: readonly WireMessage[];
  /** Of compactions that upstream started within the turn. */
  readonly summaries: readonly WireMessage[];
  /** Messages that somebody else has written behind the prompt. */
  readonly foreign: readonly WireMessage[];
  /** What answers those. */
  readonly foreignAnswers: readonly WireMessage[];
  /** The last message of the turn, whoever wrote it. */
  readonly last: WireMessage | undefined;
}

/**
 * A turn's is what hangs below its prompt: an answer names the user message that it answers. A compaction puts user
 * messages of upstream's own in between, which name nobody: they belong to whoever's turn the session was in. One of them
 * is written as the person's (1.18.33): after an overflow the prompt is replayed, as a message of its own with the same
 * text.
 */
export function shareOf(messages: readonly WireMessage[], promptMessageId: string): TurnShare {
  const start = messages.findIndex(({ info }) => info.id === promptMessageId);
  const userMessage = messages[start];
  const answers: WireMessage[] = [];
  const summaries: WireMessage[] = [];
  const foreign: WireMessage[] = [];
  const foreignAnswers: WireMessage[] = [];
  if (!userMessage) return { userMessage, answers, summaries, foreign, foreignAnswers, last: undefined };
  let last = userMessage;
  /** User messages of the turn, and who wrote them. */
  const ours = new Map<string, Author>([[promptMessageId, 'person']]);
  let driver = userMessage;
  for (const message of messages.slice(start + 1)) {
    const { info } = message;
    if (info.role === 'user') {
      const author = isReplay(message, driver, userMessage) ? 'continuation' : authorOf(message.parts);
      if (author === 'person') foreign.push(message);
      // Without a part nobody knows who wrote it: what answers it is not claimed.
      const isOurs = (author === 'auto-compaction' || author === 'continuation') && ours.has(driver.info.id);
      driver = message;
      if (!isOurs) continue;
      ours.set(info.id, author);
    } else {
      const asker = ours.get(info.parentID ?? '');
      if (foreign.some((theirs) => theirs.info.id === info.parentID)) foreignAnswers.push(message);
      if (asker === undefined) continue;
      if (!isSummary(info)) answers.push(message);
      else if (asker === 'auto-compaction') summaries.push(message);
      else continue;
    }
    last = message;
  }
  return { userMessage, answers, summaries, foreign, foreignAnswers, last };
}

/** Upstream's second copy of the prompt, right behind the compaction that an overflow made necessary. */
function isReplay(message: WireMessage, before: WireMessage, prompt: WireMessage): boolean {
  const overflowed = before.parts.some((part) => part.type === 'compaction' && part.overflow === true);
  const text = personsText(prompt);
  return overflowed && text !== undefined && personsText(message) === text;
}

const personsText = ({ parts }: WireMessage): unknown =>
  parts.find((part) => part.type === 'text' && part.synthetic !== true)?.text;
