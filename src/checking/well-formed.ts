import { InvalidInputError } from '../errors.ts';

/** Half of a surrogate pair without the other half: UTF-8 cannot hold it, and writes the same U+FFFD for each. */
const half = /\p{Surrogate}/u;

/** For what names something: two names would become one where they are stored. Throws InvalidInputError. */
export function requireWellFormed(field: string, text: string): void {
  if (half.test(text))
    throw new InvalidInputError(
      field,
      'holds half a character (a lone UTF-16 surrogate), which UTF-8 cannot',
    );
}

/** For what people write: half a character becomes U+FFFD at once, so that what is returned is what is stored and sent. */
export const wellFormed = (text: string): string => text.replace(/\p{Surrogate}/gu, '\ufffd');
