import { printable, shown } from './printable.ts';

/** What a line is about, by name: ids, codes, names and figures. */
export type LogFields = Readonly<Record<string, unknown>>;

/**
 * Where lines go. The shape of pino and bunyan: a logger of theirs is one as it is. Nothing that a logger does can break a
 * turn: one that throws, rejects or hangs costs its own line.
 */
export interface Logger {
  info(fields: LogFields, message: string): void;
  warn(fields: LogFields, message: string): void;
  error(fields: LogFields, message: string): void;
}

export type LogLevel = keyof Logger;
type Format = (level: LogLevel, fields: LogFields, message: string) => string;

/** Of one value, in UTF-16 units. */
const maxLength = 4_000;

/** One line for people on stderr, without stack traces, prompt text or file contents; nothing in it moves a terminal. */
export const consoleLogger: Logger = loggerOf((level, { action, ...fields }, message) => {
  const word = level === 'warn' ? 'warning' : level;
  const what = action === undefined ? cut(message) : `${word} in ${shown(action)}: ${cut(message)}`;
  const rest = Object.entries(fields).flatMap(([key, value]) =>
    value === undefined || key === 'code' ? [] : [`${key}=${cut(shown(value))}`],
  );
  return [`[opencode-turns] ${what}`, ...rest].join(' ');
});

/** One line of JSON on stderr: `time` (ISO 8601), `level`, `message`, and the fields. */
export const jsonLogger: Logger = loggerOf((level, fields, message) => {
  const plain = Object.entries(fields).map(([key, value]) => [key, plainValue(value)]);
  const time = new Date().toISOString();
  return JSON.stringify({ ...Object.fromEntries(plain), time, level, message: cut(message) });
});

function loggerOf(format: Format): Logger {
  // What a formatter escapes stays escaped; what it does not would be obeyed by a terminal.
  const line = (level: LogLevel) => (fields: LogFields, message: string) =>
    console.error(printable(format(level, fields, message)));
  return { info: line('info'), warn: line('warn'), error: line('error') };
}

/** What JSON can say of a value of anybody's: no object is followed. */
function plainValue(value: unknown): string | number | boolean | undefined {
  if (value === undefined || typeof value === 'boolean') return value;
  if (typeof value === 'number' && Number.isFinite(value)) return value;
  return cut(shown(value));
}

const cut = (text: string) => text.slice(0, maxLength);
