import { NewerVersionError } from '../errors.ts';
import { isObjectIdText } from './conversation-id.ts';

/**
 * In which version each thing is stored, a small whole number that stands beside it; what has none is of version 1.
 *
 *   turn     a message (`schemaVersion`); see `turnVersionOf`
 *   session  a conversation's session data (`opencodeSessionVersion`)
 *   entry    an entry of a turn's stream, snapshots included (field `v` in Redis)
 *   job      a job's payload (`version`)
 *
 * A release reads its own version and every lower one, and leaves a higher one alone: it neither changes nor ends it.
 * Raise one when a release that does not know the new form would read it wrongly, or leave something beside it that
 * contradicts it: a field whose meaning has changed, one that must change together with a known one. A field that older
 * releases may leave out and keep raises nothing. What a raise means for a deploy: docs/upgrading.md.
 */
export const versions = { turn: 2, session: 1, entry: 1, job: 1 } as const;

/**
 * In which version a turn is stored: in the lowest that says what it is, so that older releases go on with it. Version 2 may have a
 * conversation whose id is no ObjectId, which those of version 1 cannot look up; and is that of every turn that was edited, moved
 * or sent now: they would send the text of before an edit, and know no order but that of age.
 */
export const turnVersionOf = (conversationId: string): number =>
  isObjectIdText(conversationId) ? 1 : versions.turn;

export type VersionedKind = keyof typeof versions;

/** Throws NewerVersionError for a version that this release does not know yet. What is no number is none. */
export function assertReadable(kind: VersionedKind, id: string, version: unknown): void {
  if (isNewer(kind, version)) throw new NewerVersionError(kind, id, version, versions[kind]);
}

export const isNewer = (kind: VersionedKind, version: unknown): version is number =>
  typeof version === 'number' && version > versions[kind];

/** Whether it says nothing that no release has written: absent, or a whole number from 1 on. */
export const isVersion = (version: unknown): boolean =>
  version === undefined || version === null || (Number.isSafeInteger(version) && (version as number) >= 1);
