import type { UpstreamSession } from '../ports/upstream.ts';

/**
 * What a session carries upstream to be recognized by: the deployment and the conversation that it was minted for, and
 * the mint that made it. Upstream stores metadata as it is given.
 */
export interface SessionMark {
  /** The deployment's key prefix: deployments that share a server leave each other's sessions alone. */
  readonly prefix: string;
  /** Its `safeName`, which names its lock, too. */
  readonly conversation: string;
  readonly mint: string;
  /** Where that conversation is stored: processes with another model leave its sessions alone. Absent on older ones. */
  readonly collection?: string;
}

const keys = {
  prefix: 'opencodeTurnsPrefix',
  conversation: 'opencodeTurnsConversation',
  mint: 'opencodeTurnsMint',
  collection: 'opencodeTurnsCollection',
} as const;

export const metadataOf = ({
  prefix,
  conversation,
  mint,
  collection,
}: SessionMark): Readonly<Record<string, string>> => ({
  [keys.prefix]: prefix,
  [keys.conversation]: conversation,
  [keys.mint]: mint,
  ...(collection === undefined ? {} : { [keys.collection]: collection }),
});

/** Undefined for a session that somebody else made. */
export function markIn(metadata: Readonly<Record<string, unknown>> | undefined): SessionMark | undefined {
  const { prefix, conversation, mint } = keys;
  const mark = {
    prefix: metadata?.[prefix],
    conversation: metadata?.[conversation],
    mint: metadata?.[mint],
  };
  if (!Object.values(mark).every((value) => typeof value === 'string')) return undefined;
  const collection = metadata?.[keys.collection];
  return { ...(mark as SessionMark), ...(typeof collection === 'string' ? { collection } : {}) };
}

export const isMadeBy = (mint: string, { metadata }: UpstreamSession): boolean =>
  markIn(metadata)?.mint === mint;
