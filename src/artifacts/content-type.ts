import { lookup } from 'mrmime';

export const unknownContentType = 'application/octet-stream';

/** By the extension alone, never by the bytes. A name without an extension says nothing. */
export function contentTypeOf(filename: string): string {
  if (!filename.includes('.')) return unknownContentType;
  // The table is a plain object: a file named `a.constructor` would otherwise get a function as its type.
  const found: unknown = lookup(filename);
  return typeof found === 'string' ? found : unknownContentType;
}
