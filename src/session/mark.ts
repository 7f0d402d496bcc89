/**
 * What a session carries upstream to be recognized by: the deployment and the conversation that it was minted for, and
 * the mint that made it. Upstream stores metadata as it is given.
 */
export interface SessionMark {
  /** The deployment's key prefix: deployments that share a server leave each other's sessions alone. */
  readonly prefix: string;
  readonly conversationId: string;
  readonly mint: string;
}

const keys = {
  prefix: 'opencodeTurnsPrefix',
  conversationId: 'opencodeTurnsConversation',
  mint: 'opencodeTurnsMint',
} as const;

export const metadataOf = ({
  prefix,
  conversationId,
  mint,
}: SessionMark): Readonly<Record<string, string>> => ({
  [keys.prefix]: prefix,
  [keys.conversationId]: conversationId,
  [keys.mint]: mint,
});

/** Undefined for a session that somebody else made. */
export function markIn(metadata: Readonly<Record<string, unknown>> | undefined): SessionMark | undefined {
  const { prefix, conversationId, mint } = keys;
  const mark = {
    prefix: metadata?.[prefix],
    conversationId: metadata?.[conversationId],
    mint: metadata?.[mint],
  };
  return Object.values(mark).every((value) => typeof value === 'string') ? (mark as SessionMark) : undefined;
}
