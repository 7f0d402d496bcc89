/**
 * What a session carries upstream to be recognized by: the deployment and the record that it was minted for, and
 * the mint that made it. Upstream stores metadata as it is given.
 */
export interface SessionMark {
  /** The deployment's key prefix: deployments that share a server leave each other's sessions alone. */
  readonly prefix: string;
  readonly recordId: string;
  readonly mint: string;
}

const keys = {
  prefix: 'opencodeTurnsPrefix',
  recordId: 'opencodeTurnsRecord',
  mint: 'opencodeTurnsMint',
} as const;

export const metadataOf = ({ prefix, recordId, mint }: SessionMark): Readonly<Record<string, string>> => ({
  [keys.prefix]: prefix,
  [keys.recordId]: recordId,
  [keys.mint]: mint,
});

/** Undefined for a session that somebody else made. */
export function markIn(metadata: Readonly<Record<string, unknown>> | undefined): SessionMark | undefined {
  const { prefix, recordId, mint } = keys;
  const mark = { prefix: metadata?.[prefix], recordId: metadata?.[recordId], mint: metadata?.[mint] };
  return Object.values(mark).every((value) => typeof value === 'string') ? (mark as SessionMark) : undefined;
}
