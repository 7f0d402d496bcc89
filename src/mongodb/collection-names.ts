import { InvalidConfigError } from '../errors.ts';

/** A host has messages and conversations of its own more often than not. */
export const defaultCollectionPrefix = 'opencode_turns_';

/** The collections of a deployment; `files` is a GridFS bucket, hence `….files` and `….chunks`. */
export interface CollectionNames {
  readonly messages: string;
  readonly conversations: string;
  readonly files: string;
}

/** What MongoDB takes at the beginning of a name. */
export const collectionPrefixForm = {
  fits: (prefix: string): boolean => /^[\w.-]{0,60}$/.test(prefix) && !/^(\.|system\.)/.test(prefix),
  problem: 'must be at most 60 letters, digits, "_", "-" and "."',
};

/** Throws InvalidConfigError for a prefix that MongoDB takes in no name. */
export function collectionNames(prefix: string = defaultCollectionPrefix): CollectionNames {
  if (typeof prefix !== 'string' || !collectionPrefixForm.fits(prefix))
    throw new InvalidConfigError('collectionPrefix', collectionPrefixForm.problem);
  return {
    messages: `${prefix}messages`,
    conversations: `${prefix}conversations`,
    files: `${prefix}artifacts`,
  };
}
