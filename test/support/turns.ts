import type { StoredTurn, TurnEntry, Turns, TurnView } from '../../src/index.ts';
import { applyEntry, emptyView } from '../../src/view.ts';

export async function newConversation(turns: Turns, title = 'Test'): Promise<string> {
  const conversation = await turns.models.Conversation.create({ title });
  return String(conversation._id);
}

/** Follows to the end; every entry, and the view that a follower holds then. */
export async function followAll(
  turns: Turns,
  turnId: string,
  after?: string,
): Promise<{ entries: TurnEntry[]; view: TurnView }> {
  const entries: TurnEntry[] = [];
  for await (const entry of turns.follow(turnId, after === undefined ? {} : { after })) entries.push(entry);
  return { entries, view: entries.reduce<TurnView>(applyEntry, emptyView) };
}

/** Enqueues, follows to the end, and answers the stored turn beside what was followed. */
export async function runTurn(turns: Turns, conversation: string, text: string, policy = 'default') {
  const { id } = await turns.enqueue({ conversation, text, policy });
  const followed = await followAll(turns, id);
  const stored = (await turns.get(id)) as StoredTurn;
  return { id, stored, ...followed };
}

/** The text of a part as a follower gets it: offsets must fit without a hole or an overlap. */
export function concatenated(entries: readonly TurnEntry[]): string {
  let texts = new Map<string, string>();
  for (const entry of entries) {
    const whole =
      entry.type === 'snapshot' ? entry.view.parts : entry.type === 'parts' ? entry.parts : undefined;
    if (whole) texts = new Map(whole.flatMap((part) => (part.type === 'text' ? [[part.id, part.text]] : [])));
    if (entry.type === 'part' && entry.part.type === 'text') texts.set(entry.part.id, entry.part.text);
    if (entry.type !== 'text') continue;
    const known = texts.get(entry.partId);
    if (known === undefined) continue;
    if (known.length !== entry.offset)
      throw new Error(`a delta at ${entry.offset} of a text of ${known.length}`);
    texts.set(entry.partId, known + entry.delta);
  }
  return [...texts.values()].filter((text) => text !== '').join('\n\n');
}
