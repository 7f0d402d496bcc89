import { messageOf } from '../errors.ts';

const maxMessageLength = 500;
/** More than any driver has. */
const maxDepth = 5;

interface Facts {
  readonly name?: unknown;
  readonly code?: unknown;
  readonly codeName?: unknown;
  readonly errorLabels?: unknown;
  readonly stack?: unknown;
  readonly cause?: unknown;
}

/**
 * The message of an error of MongoDB, of its driver or of Mongoose, without the values that it repeats: of a duplicate key
 * (`dup key: { a: "x" }`) and of a refused cast (`for value "x"`).
 */
export function plainMessage(error: unknown): string {
  const message = messageOf(error)
    .replace(/(\bdup key: ).*$/s, '$1…')
    .replace(/( for value ).*( \(type )/gs, '$1…$2');
  return message.length > maxMessageLength ? `${message.slice(0, maxMessageLength)}…` : message;
}

/**
 * What of such an error may leave as the `cause` of one of ours: name, code, labels, message and where it was thrown, its own
 * causes likewise. The driver hangs whole documents on its errors (`insertedDocs`, `writeErrors[].err.op`, `errInfo`), and
 * loggers write a cause with all of its fields: what a user has written would stand in the log.
 */
export function plainCause(error: unknown, depth = 0): Error {
  const { name, code, codeName, errorLabels, stack, cause } = (error ?? {}) as Facts;
  const more = cause === undefined || depth >= maxDepth ? {} : { cause: plainCause(cause, depth + 1) };
  const plain = new Error(plainMessage(error), more);
  if (typeof name === 'string') plain.name = name;
  // Its first lines are the message.
  const frames = String(stack ?? '').match(/^ {4}at .*$/gm) ?? [];
  plain.stack = [`${plain.name}: ${plain.message}`, ...frames].join('\n');
  const labels = Array.isArray(errorLabels) && errorLabels.length > 0 ? errorLabels.map(String) : undefined;
  const facts = { code, codeName, errorLabels: labels };
  return Object.assign(
    plain,
    Object.fromEntries(Object.entries(facts).filter(([, value]) => value !== undefined)),
  );
}
