import type { Cursors } from './cursors.ts';
import type { Databases } from './database.ts';
import { CommandError } from './errors.ts';
import { type Doc, isDoc } from './values.ts';

/** What a command works on. */
export interface CommandContext {
  readonly databases: Databases;
  readonly cursors: Cursors;
  readonly database: string;
}

export const docOf = (value: unknown): Doc => (isDoc(value) ? value : {});
export const nameOf = (value: unknown): string => {
  if (typeof value === 'string') return value;
  throw new CommandError(73, 'collection name has invalid type');
};
