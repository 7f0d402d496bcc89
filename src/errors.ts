/**
 * The error catalogue. Every error that leaves this library is one of these classes: a stable `code`, the
 * facts as readonly fields, the original as `cause`, and a disposition that says what a job does with it.
 */
import type * as abort from './errors/abort.ts';
import type * as calls from './errors/calls.ts';
import type * as files from './errors/files.ts';
import type * as ownership from './errors/ownership.ts';
import type * as services from './errors/services.ts';
import type * as sessions from './errors/sessions.ts';
import type * as turns from './errors/turns.ts';
import type * as upstream from './errors/upstream.ts';

export * from './errors/abort.ts';
export * from './errors/calls.ts';
export * from './errors/files.ts';
export * from './errors/ownership.ts';
export * from './errors/services.ts';
export * from './errors/sessions.ts';
export * from './errors/turns.ts';
export * from './errors/turns-error.ts';
export * from './errors/upstream.ts';

type Catalogue = typeof abort &
  typeof calls &
  typeof files &
  typeof ownership &
  typeof services &
  typeof sessions &
  typeof turns &
  typeof upstream;
type CodeOf<C> = C extends abstract new (
  ...given: never[]
) => { readonly code: infer Code extends string }
  ? Code
  : never;

/** The `code` of every error of the catalogue; the abstract classes have none. */
export type ErrorCode = Exclude<
  { [Name in keyof Catalogue]: CodeOf<Catalogue[Name]> }[keyof Catalogue],
  'string'
>;
