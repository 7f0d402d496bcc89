import path from 'node:path';
import { UnsafeFileError } from '../errors.ts';

/**
 * Characters with which a name shown to a person or to a model can look like another name, like two lines, or
 * carry words that nobody sees: control characters, line separators, overrides of the writing direction,
 * characters that are not drawn, lone surrogates, and the replacement character (what a name that is not UTF-8 is
 * read as). The joiners and selectors of scripts and emoji are not among them.
 */
const deceiving =
  /(?!\u200c|\u200d|[\ufe00-\ufe0f])[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Bidi_Control}\p{Default_Ignorable_Code_Point}\ufff9-\ufffd]/u;
const everyDeceiving = new RegExp(deceiving, 'gu');

/** All that a name in the sandbox may hold; harmless unquoted in a shell, in a prompt and in a header. */
const everyRunOfOthers = /(?:[^\p{L}\p{M}\p{N}._-]|\p{Default_Ignorable_Code_Point})+/gu;

/** Linux takes 255 bytes; the rest is for a number, and for what others append to a name. */
const maxNameBytes = 200;
const maxExtensionBytes = 20;
/** More of a name is never looked at, nor shown. */
const maxNameLength = 4_096;
const maxShownLength = 200;

/**
 * What the OpenCode server reads by itself in the folder that it works in: its settings (they can start
 * processes) and standing instructions. A person's upload must not become these.
 */
const readByServer = /^(opencode|tui)\.jsonc?$|^(agents|claude|context)\.md$/iu;
/** Names of devices on Windows, where a user may take the file next. */
const devices = /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/iu;

/** True for a name that is not what it looks like. */
export function isDeceiving(filename: string): boolean {
  return deceiving.test(filename);
}

/** True for the name of something directly in a folder: one component, neither the folder itself nor its parent. */
export function isBasename(name: string): boolean {
  return name !== '' && name !== '.' && name !== '..' && !/[/\0]/.test(name);
}

/** Uploads are written under a name with this prefix first; a killed worker may leave one. No listing shows them. */
export const unfinishedPrefix = '.opencode-turns-upload-';

/**
 * The name that a user's file gets in the sandbox: letters, figures, `.`, `_` and `-`, not first a dot or a dash,
 * at most 200 bytes, never empty, and none that the server or an operating system reads as something else.
 * Throws UnsafeFileError when the given name leads out of its folder.
 */
export function sandboxFilename(original: string): string {
  const given = original.slice(0, maxNameLength);
  if (given.startsWith('/') || given.split(/[/\\]/).includes('..'))
    throw new UnsafeFileError(shortened(original), 'its name leads outside the sandbox');
  const plain = given.normalize('NFC').replace(everyRunOfOthers, '_');
  const trimmed = plain.replace(/^[.-]+/, '').replace(/\.+$/, '');
  const named = /[\p{L}\p{N}]/u.test(trimmed) ? trimmed : 'file';
  return fitted(readByServer.test(named) || devices.test(named) ? `uploaded-${named}` : named);
}

/** `a.txt`, `a-2.txt`, `a-3.txt`, … */
export function numbered(filename: string, number: number): string {
  const { name, ext } = path.parse(filename);
  return number === 1 ? filename : `${name}-${number}${ext}`;
}

/** A name as one line within a text, whatever it holds. */
export function quoted(name: string): string {
  return JSON.stringify(shortened(name)).replace(
    everyDeceiving,
    (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`,
  );
}

function shortened(name: string): string {
  const characters = [...name.slice(0, maxNameLength)];
  return characters.length > maxShownLength ? `${characters.slice(0, maxShownLength).join('')}…` : name;
}

/** Shortens the name before its extension; an extension that is too long is none. */
function fitted(filename: string): string {
  if (Buffer.byteLength(filename) <= maxNameBytes) return filename;
  const { name, ext } = path.parse(filename);
  const kept = Buffer.byteLength(ext) <= maxExtensionBytes ? ext : '';
  const start = startOf(kept === '' ? filename : name, maxNameBytes - Buffer.byteLength(kept));
  return start.replace(/\.+$/, '') + kept;
}

function startOf(text: string, maxBytes: number): string {
  let bytes = 0;
  let start = '';
  for (const character of text) {
    bytes += Buffer.byteLength(character);
    if (bytes > maxBytes) break;
    start += character;
  }
  return start;
}
