/**
 * Control characters, line and paragraph separators, marks and overrides of writing direction, characters
 * without width, lone surrogates, and the replacement character (what a name that is not UTF-8 is read as).
 * With any of these a name shown to a person or to a model can look like another name, or like two lines.
 */
const deceiving =
  /[\p{Cc}\p{Cs}\u2028\u2029\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffd]/u;

/** True for a name that is not what it looks like. */
export function isDeceiving(filename: string): boolean {
  return deceiving.test(filename);
}

/** True for the name of something directly in a folder: one component, neither the folder itself nor its parent. */
export function isBasename(name: string): boolean {
  return name !== '' && name !== '.' && name !== '..' && !/[/\0]/.test(name);
}
