/** C0 and C1 control characters but the tab, line separators, and what turns the direction of writing. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
const hidden = /[\u0000-\u0008\u000a-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;
const short: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r' };

/**
 * Text that somebody else wrote, for one line of a log: newlines, escape codes and what else a terminal or a reader
 * would obey becomes visible. Everything else, tabs too, stays as it is. Pure.
 */
export function printable(text: string): string {
  return text.replace(hidden, (one) => short[one] ?? `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** A value of anybody's as text; one that cannot be read as such is named by its type. Never throws. */
export function shown(value: unknown): string {
  try {
    return String(value);
  } catch {
    return `[${typeof value}]`;
  }
}

/** An error in one line: its class and what it says. Never throws. */
export function sayingOf(error: unknown): string {
  try {
    return error instanceof Error ? `${error.name}: ${error.message}` : shown(error);
  } catch {
    return 'Error';
  }
}
